"""`align`: photos -> crops as FFHQ has them."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from pipeline.cli.arguments import PATH, require_picture
from pipeline.cli.errors import reporting
from pipeline.cli.output import print_numbers, write_picture
from pipeline.cli.progress import progress
from stylealae.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pipeline.faces.landmarks import Detector
    from pipeline.faces.photos import Aligned, Photo

__all__ = ["align"]

log = logging.getLogger(__name__)
NAMED = 5  # photos that are passed over, one by one
SHOWN = 32  # crops on a sheet


@click.command()
@click.argument("photos", nargs=-1, required=True, type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder of the crops.")
@click.option("--size", default=1024, show_default=True, type=click.IntRange(16, 4096),
              help="Side of the crops, in pixels.")  # fmt: skip
@click.option("--landmarks", type=PATH,
              help="ffhq-dataset-v2.json, or a JSON of {file name: [[x, y], ...]}; default: files "
                   "beside the photos.")  # fmt: skip
@click.option("--detector", "detect", metavar="NAME:WEIGHTS",
              help="Find the faces of photos without landmarks: yunet:face_detection_yunet_"
                   "2023mar.onnx or dlib:shape_predictor_68_face_landmarks.dat; default: dlib of "
                   "the extra `faces`, if it is there.")  # fmt: skip
@click.option("--sheet", type=PATH, help="Also a PNG of the first crops.")
@reporting("the crops that were made are there")
def align(
    photos: Sequence[Path], out: Path, size: int, landmarks: Path | None, detect: str | None,
    sheet: Path | None,
) -> None:  # fmt: skip
    """Cut faces out of photos as FFHQ does: upright, eyes and mouth in their usual places.

    PHOTOS are image files, or folders, zips and tars of them; a crop has its photo's name, with the
    folders above it where two photos are called alike. Landmarks lie beside a photo, by its
    name: WebMorph's .tem, iBUG's .pts, or a .json of 68, 5 or 4 pairs (eyes, mouth corners). Of
    photos without any the largest face is found, after pip install 'stylealae[faces]'. What
    lies outside a photo is mirrored and blurred. A model trained on FFHQ or CelebA-HQ wants such
    crops for `encode`, `reconstruct` and `edit`.

    \b
    stylealae align photos/ --out aligned
    stylealae align photos.zip --landmarks landmarks.json --size 256 --out aligned --sheet look.png
    stylealae align photos/ --detector yunet:face_detection_yunet_2023mar.onnx --out aligned
    """  # noqa: D301
    from pipeline.data.sources.left_aside import LeftAside
    from pipeline.faces import landmarks as points
    from pipeline.faces.photos import aligned, crop_name, landmarks_of, photos_of

    if sheet:
        require_picture("--sheet", sheet)
    finds = points.detector(detect) if detect else None if landmarks else _usual_detector()
    left_aside = LeftAside()
    found = photos_of(photos, left_aside)
    if not found:
        raise DataError(f"no photo in {', '.join(map(str, photos))}: name some image files")
    _refuse_to_overwrite(found, [out / crop_name(photo.name) for photo in found])
    table = landmarks_of(found, points.read_table(landmarks)) if landmarks else {}
    made = _write_crops(found, lambda photo: aligned(photo, size, table, finds), out)
    if left_aside:
        log.warning("left aside %s", left_aside)
    for loss, count in made.losses.items():
        log.warning("of %d photos: %s", count, loss)
    if sheet:
        _draw(made.first, sheet)
    windows = sorted(made.windows)
    small = sum(window < size for window in windows)
    if small:
        log.warning("%d of %d faces are smaller than %d pixels in their photo and were enlarged",
                    small, len(windows), size)  # fmt: skip
    print_numbers(
        command="align",
        aligned=len(windows),
        refused=made.refused,
        left_aside=len(left_aside),
        enlarged=small,
        size=size,
        window_px={"smallest": windows[0], "median": windows[len(windows) // 2]},
        several_faces=made.several,
        out=str(out),
    )


@dataclass
class _Made:
    """What became of the photos; of the crops themselves the first alone are kept, for a sheet."""

    first: "list[tuple[str, Aligned]]" = field(default_factory=list)
    windows: list[float] = field(default_factory=list)
    """Side of every face's square in its photo, in pixels."""
    losses: Counter[str] = field(default_factory=Counter)
    several: int = 0
    """Photos of several faces."""
    refused: int = 0

    def add(self, name: str, crop: "Aligned") -> None:
        """Count a crop that was written."""
        self.windows.append(crop.photo_side)
        self.losses.update(crop.losses)
        self.several += crop.faces > 1
        if len(self.first) < SHOWN:
            self.first.append((PurePosixPath(name).name, crop))


def _refuse_to_overwrite(found: "Sequence[Photo]", crops: Sequence[Path]) -> None:
    """ConfigError for a crop that would replace something in a folder that holds photos."""
    files = [photo.file for photo in found if photo.file is not None]
    places = {file.parent.resolve() for file in files} | {file.resolve().parent for file in files}
    for crop in crops:
        if crop.exists() and crop.resolve().parent in places:
            raise ConfigError(f"{crop} lies among the photos and would be replaced by a crop: give "
                              "another --out")  # fmt: skip


def _usual_detector() -> "Detector | None":
    """That of the extra `faces`, which is read when a photo wants it; None without the extra."""
    from pipeline.faces import landmarks

    name, detector = landmarks.usual_detector(), cache(landmarks.detector)
    return (lambda image: detector(name)(image)) if name else None


def _write_crops(
    photos: "Sequence[Photo]", crop_of: "Callable[[Photo], Aligned]", out: Path
) -> _Made:
    """Cuts and writes every photo's face.

    A photo that was not named itself is reported and passed over.
    """
    from pipeline.faces.photos import crop_name

    made = _Made()
    refused: list[str] = []
    with progress("photos", len(photos)) as advance:
        for photo in photos:
            try:
                crop = crop_of(photo)
            except DataError as error:
                refused.append(f"{photo.name}: {error}")
                if photo.alone:
                    raise DataError(refused[-1]) from error
                if len(refused) <= NAMED:
                    log.warning("passed over: %s", refused[-1])
            else:
                _write(crop, out / crop_name(photo.name))
                made.add(photo.name, crop)
            advance(1)
    if not made.windows:
        raise DataError(f"no face could be cut out of {len(refused)} photos; {refused[0]}")
    if len(refused) > NAMED:
        log.warning("passed over: %d more", len(refused) - NAMED)
    made.refused = len(refused)
    return made


def _write(crop: "Aligned", out: Path) -> None:
    from PIL import Image

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop.crop).save(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from error


def _draw(made: "Sequence[tuple[str, Aligned]]", sheet: Path) -> None:
    import numpy as np
    import torch
    from PIL import Image

    from stylealae.image_grid import paired_grid

    side = min(256, made[0][1].crop.shape[0])
    small = [np.asarray(Image.fromarray(crop.crop).resize((side, side))) for _, crop in made]
    x = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1
    headings = [f"{name}\nfrom {crop.photo_side:.0f} px" for name, crop in made]
    write_picture(paired_grid([("aligned", x)], headings), sheet)
