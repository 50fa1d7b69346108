"""The faces that a command is given: images, batch by batch, seeds, tuned people; their styles."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.models import open_any, open_model
from pipeline.cli.progress import progress
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.data.images import Image
    from stylealae import StyleALAE
    from stylealae.capabilities import Model

__all__ = ["TUNED", "encode_images", "made_of_images", "open_any_for", "open_for", "pictures_of"]
__all__ += ["read_batches", "styles_of", "write_codes"]

log = logging.getLogger(__name__)
SEED, TUNED = "seed:", "tuned:"
"""What a face is named by that is no image: the model's own, and a tuning's person."""
PLAIN = 2 / 127.5
"""Standard deviation of an image that shows nothing: two of its 256 gray values."""


def open_for(model: Path, faces: Sequence[str], device: str) -> "StyleALAE":
    """The model that a command is given, tuned to the person that is named among the faces.

    Raises:
        ConfigError: people of two tunings are named, or the tuning is of another model.
    """
    return _tuned(open_model(model, device), faces)


def open_any_for(model: Path, faces: Sequence[str], device: str) -> "Model":
    """As `open_for`, of any family; only a StyleALAE is tuned."""
    from stylealae import StyleALAE

    m = open_any(model, device)
    if isinstance(m, StyleALAE):
        return _tuned(m, faces)
    if any(face.startswith(TUNED) for face in faces):
        raise ConfigError(f"{TUNED} is of a StyleALAE, and {model} is of the family {m.family!r}")
    return m


def _tuned(m: "StyleALAE", faces: Sequence[str]) -> "StyleALAE":
    files = {face.removeprefix(TUNED) for face in faces if face.startswith(TUNED)}
    if len(files) > 1:
        raise ConfigError(
            f"{' and '.join(sorted(files))} are tunings of two generators: name one, or tune one "
            "generator to all of the images (`refine --tune` takes several)"
        )
    return m.tuned(files.pop()) if files else m


def read_batches(
    m: "Model",
    images: Sequence[str | Path],
    *,
    count: int | None = None,
    labels: Path | None = None,
    split: str | None = None,
    what: str = "images",
) -> "Iterator[tuple[list[Image], Tensor]]":
    """The images for a model, in batches that suit its resolution, under a progress bar.

    `seed:3` among them is the face that the model itself draws with seed 3, `tuned:FILE` are those
    of a tuning, as the tuned model draws them.  Of prepared data sets all splits, or one.
    """
    from pipeline.data.images import Images, batches, open_images

    for face in images:
        _kind_of(face)  # refuses a wrong one before the work

    def opened(faces: "Sequence[str | Path]", kind: str) -> Images:
        if kind:
            drawn = [image for face in faces for image in _drawn(m, str(face))]
            return Images(len(drawn), iter(drawn))
        return open_images(
            faces, m.resolution, channels=m.model.channels, labels=labels, split=split
        )

    parts = [opened(list(group), kind) for kind, group in groupby(images, _kind_of)]
    total = sum(part.count for part in parts)
    found = islice(chain.from_iterable(part.images for part in parts), count)
    size = max(1, min(64, (1 << 20) // m.resolution**2))
    with progress(what, total if count is None else min(total, count)) as advance:
        for batch, x in batches(found, size):
            for image, deviation in zip(batch, x.flatten(1).std(1).tolist(), strict=True):
                if deviation < PLAIN:
                    log.warning("%s is nearly of one colour: no face can be seen in it", image.name)
            yield batch, x.to(m.device)
            advance(len(batch))


def encode_images(
    m: "StyleALAE", images: Sequence[str | Path], count: int | None
) -> "tuple[list[str], Tensor, Tensor]":
    """Names, images [N, C, R, R] and their styles [N, W]; names without folders if all differ."""
    return made_of_images(m, images, count, m.encode)


def made_of_images(
    m: "Model",
    images: Sequence[str | Path],
    count: int | None,
    make: "Callable[[Tensor], Tensor]",
) -> "tuple[list[str], Tensor, Tensor]":
    """As `encode_images`, with something else [N, ...] that is made of the images."""
    import torch

    names: list[str] = []
    pixels: list[Tensor] = []
    made: list[Tensor] = []
    for batch, x in read_batches(m, images, count=count):
        names += [image.name for image in batch]
        pixels.append(x)
        made.append(make(x))
    last = [name.rpartition("/")[2] for name in names]
    return last if len(set(last)) == len(names) else names, torch.cat(pixels), torch.cat(made)


def styles_of(
    m: "StyleALAE", faces: Sequence[str], count: int | None
) -> "tuple[list[str], Tensor, Tensor]":
    """As `encode_images`; of a seed or a tuning the style that it is drawn with, not E's of it.

    Styles are [N, W], or [N, L, W] where there are any of a tuning.
    """
    import torch

    from stylealae.latents import per_layer

    names: list[str] = []
    pixels: list[Tensor] = []
    styles: list[Tensor] = []
    for kind, group in groupby(faces, _kind_of):
        some = list(group)
        more, x, w = encode_images(m, some, count)
        names += more
        pixels.append(x)
        styles.append(torch.cat([_style_of(m, face) for face in some])[:count] if kind else w)
    if any(w.ndim == 3 for w in styles):
        styles = [per_layer(w, 2 * (m.stage + 1)) for w in styles]
    return names[:count], torch.cat(pixels)[:count], torch.cat(styles)[:count]


def pictures_of(m: "StyleALAE", w: "Tensor") -> "Tensor":
    """G of many styles, some at a time, without noise."""
    import torch

    return torch.cat([m.generate(part, noise=False) for part in torch.split(w, 16)])


def write_codes(codes: "Tensor", letter: str, names: Sequence[str], out: Path) -> None:
    """[N, W], [N, L, W] or [N, Z], called `w` or `z`, with the names of their images."""
    import numpy as np

    from stylealae.tensor_file import write_tensors

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npy":
            np.save(out, codes.numpy())
            out.with_suffix(".json").write_text(json.dumps(list(names), indent=0) + "\n")
        else:
            write_tensors(out, {letter: codes}, {"names": json.dumps(list(names))})
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from error


def _kind_of(face: str | Path) -> str:
    """SEED, TUNED, or nothing for images.

    Raises:
        ConfigError: it begins as a seed and is none.
    """
    if str(face).startswith(SEED):
        _seed_of(face)
    return next((kind for kind in (SEED, TUNED) if str(face).startswith(kind)), "")


def _seed_of(face: str | Path) -> int:
    """`seed:3` -> 3."""
    seed = str(face).removeprefix(SEED)
    if not (seed.isascii() and seed.isdecimal()):
        raise ConfigError(f"{str(face)!r} is not a seed: write for example seed:3")
    return int(seed)


def _style_of(m: "StyleALAE", face: str) -> "Tensor":
    """The styles that a seed or a tuning is drawn with.  -> [1, W] or [N, L, W]"""
    from stylealae.editing.tuning import Tuning

    if face.startswith(SEED):
        return m.styles(1, _seed_of(face))
    return Tuning.load(Path(face.removeprefix(TUNED))).w.to(m.device)


def _drawn(m: "Model", face: str) -> "Iterator[Image]":
    """The faces that a model draws with a seed, or with the styles of a tuning."""
    from pipeline.data.images import Image
    from stylealae import StyleALAE
    from stylealae.image_grid import to_uint8

    names: Sequence[str] = (f"seed {face.removeprefix(SEED)}",)
    if face.startswith(TUNED):
        names = _people_of(Path(face.removeprefix(TUNED)))
    if isinstance(m, StyleALAE):
        x = m.generate(_style_of(m, face), noise=False)  # [N, C, R, R]
    else:
        x = m.sample(1, seed=_seed_of(face))
    for name, planes in zip(names, to_uint8(x), strict=True):  # [R, R, C]
        yield Image(name, planes.transpose(2, 0, 1)[: m.model.channels], {})  # grey is drawn as RGB


def _people_of(file: Path) -> Sequence[str]:
    """The names in a tuning; where it holds none, as the studio's, the file's own, numbered."""
    from stylealae.editing.tuning import Tuning

    held = Tuning.load(file)
    if len(held.names) == len(held.w):
        return held.names
    return [file.stem] if len(held.w) == 1 else [f"{file.stem} {k + 1}" for k in range(len(held.w))]
