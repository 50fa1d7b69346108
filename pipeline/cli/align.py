"""`align`: photos -> crops as FFHQ has them."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from pipeline.cli.launching import sentence
from pipeline.cli.output import progress, tell, write_picture
from stylealae.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pipeline.faces.photos import Aligned

__all__ = ["align"]

log = logging.getLogger(__name__)
NAMED = 5  # photos that are passed over, one by one


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the crops.")
@click.option("--size", default=1024, show_default=True, type=click.IntRange(16, 4096),
              help="Side of the crops, in pixels.")  # fmt: skip
@click.option("--landmarks", type=click.Path(path_type=Path),
              help="ffhq-dataset-v2.json, or a JSON of {file name: [[x, y], ...]}; default: files "
                   "beside the photos.")  # fmt: skip
@click.option("--detector", "detect", metavar="NAME:WEIGHTS",
              help="Find the faces of photos without landmarks: yunet:face_detection_yunet_"
                   "2023mar.onnx or dlib:shape_predictor_68_face_landmarks.dat.")  # fmt: skip
@click.option("--sheet", type=click.Path(path_type=Path), help="Also a PNG of the first crops.")
@sentence
def align(
    photos: Sequence[Path], out: Path, size: int, landmarks: Path | None, detect: str | None,
    sheet: Path | None,
) -> None:  # fmt: skip
    """Cut faces out of photos as FFHQ does: upright, eyes and mouth in their usual places.

    PHOTOS are image files, or folders, zips and tars of them. Landmarks lie beside a photo, by its
    name: WebMorph's .tem, iBUG's .pts, or a .json of 68, 5 or 4 pairs (eyes, mouth corners). What
    lies outside a photo is mirrored and blurred. A model trained on FFHQ or CelebA-HQ wants such
    crops for `encode`, `reconstruct` and `edit`.

    \b
    stylealae align me.jpg --out aligned
    stylealae align photos.zip --landmarks landmarks.json --size 256 --out aligned --sheet look.png
    stylealae align photos/ --detector yunet:face_detection_yunet_2023mar.onnx --out aligned
    """  # noqa: D301
    from pipeline.faces import landmarks as points
    from pipeline.faces.photos import Photo, aligned
    from pipeline.faces.photos import photos as photos_of

    table = points.read_table(landmarks) if landmarks else {}
    finds = points.detector(detect) if detect else None
    found: list[tuple[Photo, bool]] = [
        (photo, path.is_dir() or photo.name != path.name)
        for path in photos
        for photo in photos_of(path)
    ]
    if not found:
        raise DataError(f"no photo in {', '.join(map(str, photos))}: name some image files")
    made: list[tuple[str, Aligned]] = []
    refused: list[str] = []
    with progress("photos", len(found)) as advance:
        for photo, several in found:
            try:
                crop = aligned(photo, size, table, finds)
            except DataError as error:
                refused.append(f"{photo.name}: {error}")
                if not several:
                    raise DataError(refused[-1]) from error
                if len(refused) <= NAMED:
                    log.warning("passed over: %s", refused[-1])
            else:
                _write(crop, out / _safe(photo.name))
                made.append((PurePosixPath(photo.name).name, crop))
            advance(1)
    if not made:
        raise DataError(f"no face could be cut out of {len(refused)} photos; {refused[0]}")
    if len(refused) > NAMED:
        log.warning("passed over: %d more", len(refused) - NAMED)
    if sheet:
        _draw(made[:32], sheet)
    small = sum(crop.window < size for _, crop in made)
    if small:
        log.warning("%d of %d faces are smaller than %d pixels in their photo and were enlarged",
                    small, len(made), size)  # fmt: skip
    windows = sorted(crop.window for _, crop in made)
    tell(command="align", aligned=len(made), refused=len(refused), enlarged=small, size=size,
         window_px={"smallest": windows[0], "median": windows[len(windows) // 2]},
         several_faces=sum(crop.faces > 1 for _, crop in made), out=str(out))  # fmt: skip


def _safe(name: str) -> PurePosixPath:
    """A crop's name: the photo's, as PNG; its folders too, unless they lead elsewhere."""
    path = PurePosixPath(name).with_suffix(".png")
    return PurePosixPath(path.name) if path.is_absolute() or ".." in path.parts else path


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
    headings = [f"{name}\nfrom {crop.window:.0f} px" for name, crop in made]
    write_picture(paired_grid([("aligned", x)], headings), sheet)
