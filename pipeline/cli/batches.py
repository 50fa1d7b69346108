"""The images that a command is given, batch by batch, and their styles."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import progress
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.data.images import Image
    from stylealae import StyleALAE

__all__ = ["encode_images", "read_batches", "styles_of"]

log = logging.getLogger(__name__)
PLAIN = 2 / 127.5
"""Standard deviation of an image that shows nothing: two of its 256 gray values."""


def read_batches(
    m: "StyleALAE",
    images: Sequence[str | Path],
    *,
    count: int | None = None,
    labels: Path | None = None,
    what: str = "images",
) -> "Iterator[tuple[list[Image], Tensor]]":
    """The images for a model, in batches that suit its resolution, under a progress bar.

    `seed:3` among them is the face that the model itself draws with seed 3.
    """
    from pipeline.data.images import batches, read_images

    for face in images:
        if _is_seed(face):
            _seed_of(face)  # refuses a wrong one before the work

    def read() -> "Iterator[Image]":
        for drawn, group in groupby(images, _is_seed):
            if drawn:
                yield from (_drawn(m, face) for face in group)
            else:
                yield from read_images(
                    list(group), m.resolution, channels=m.model.channels, labels=labels
                )

    found = islice(read(), count)
    size = max(1, min(64, (1 << 20) // m.resolution**2))
    with progress(what, count) as advance:
        for batch, x in batches(found, size):
            for image, spread in zip(batch, x.flatten(1).std(1).tolist(), strict=True):
                if spread < PLAIN:
                    log.warning("%s is nearly of one colour: no face can be seen in it", image.name)
            yield batch, x.to(m.device)
            advance(len(batch))


def encode_images(
    m: "StyleALAE", images: Sequence[str | Path], count: int | None
) -> "tuple[list[str], Tensor, Tensor]":
    """Names, images [N, C, R, R] and their styles [N, W]; names without folders if all differ."""
    import torch

    names: list[str] = []
    pixels: list[Tensor] = []
    styles: list[Tensor] = []
    for batch, x in read_batches(m, images, count=count):
        names += [image.name for image in batch]
        pixels.append(x)
        styles.append(m.encode(x))
    last = [name.rpartition("/")[2] for name in names]
    return last if len(set(last)) == len(names) else names, torch.cat(pixels), torch.cat(styles)


def styles_of(
    m: "StyleALAE", faces: Sequence[str], count: int | None
) -> "tuple[list[str], Tensor, Tensor]":
    """As `encode_images`; of a seed the style [W] that it is drawn with, not E's reading of it."""
    import torch

    names: list[str] = []
    pixels: list[Tensor] = []
    styles: list[Tensor] = []
    for drawn, group in groupby(faces, _is_seed):
        some = list(group)
        more, x, w = encode_images(m, some, count)
        names += more
        pixels.append(x)
        styles.append(torch.cat([m.styles(1, _seed_of(f)) for f in some])[:count] if drawn else w)
    return names[:count], torch.cat(pixels)[:count], torch.cat(styles)[:count]


def _is_seed(face: str | Path) -> bool:
    return str(face).startswith("seed:")


def _seed_of(face: str | Path) -> int:
    """`seed:3` -> 3."""
    seed = str(face).removeprefix("seed:")
    if not (seed.isascii() and seed.isdecimal()):
        raise ConfigError(f"{str(face)!r} is not a seed: write for example seed:3")
    return int(seed)


def _drawn(m: "StyleALAE", face: str | Path) -> "Image":
    """The face that a model draws with a seed."""
    from pipeline.data.images import Image
    from stylealae.image_grid import to_uint8

    x = m.generate(m.styles(1, _seed_of(face)), noise=False)  # [1, C, R, R]
    planes = to_uint8(x)[0]  # [R, R, C]
    return Image(f"seed {_seed_of(face)}", planes.transpose(2, 0, 1), {})
