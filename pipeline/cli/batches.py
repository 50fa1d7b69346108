"""The images that a command is given, batch by batch, and their styles."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import progress

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.data.images import Image
    from stylealae import StyleALAE

__all__ = ["encode_images", "read_batches"]

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
    """The images for a model, in batches that suit its resolution, under a progress bar."""
    from pipeline.data.images import batches, read_images

    found = read_images(images, m.resolution, channels=m.model.channels, count=count, labels=labels)
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
