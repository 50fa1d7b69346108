"""Images for the tools, without a prepared dataset: files or containers of them, as one tensor."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.data import pixels
from pipeline.data.pixels import Pixels
from pipeline.data.sources import open_source
from stylealae.errors import DataError

__all__ = ["load_images"]

log = logging.getLogger(__name__)


def load_images(
    paths: Sequence[Path], resolution: int, *, channels: int = 3, count: int | None = None
) -> Tensor:
    """[n, C, R, R] float32 in [-1, 1]: image files, or folders, zips and tars of them.

    They are cropped and shrunk exactly as `stylealae prepare` does it. A file that is named and
    cannot be used is an error; inside a folder or archive it is reported and passed over.
    """
    found: list[Tensor] = []
    for path in paths:
        for image in _images(path, channels):
            if len(found) == count:
                break
            planes, _ = pixels.square(image, resolution)
            made = pixels.pyramid(planes, (resolution,))[resolution]  # [C, R, R] uint8
            found.append(torch.from_numpy(made))
    if not found:
        raise DataError(f"no usable image in {', '.join(map(str, paths))}: name some image files")
    return torch.stack(found).to(torch.float32) / 127.5 - 1.0


def _images(path: Path, channels: int) -> Iterator[Pixels]:
    """[H, W, C] uint8 each: the image that `path` is, or those that it contains."""
    if path.is_file() and path.suffix.lower() not in (".tar", ".zip"):
        try:
            yield pixels.decode(path.read_bytes(), channels)[0]
        except (DataError, OSError) as error:
            raise DataError(f"{path}: {error}") from error
        return
    source = open_source(str(path), channels=channels)
    for i in range(len(source)):
        try:
            yield source.read(i).image
        except DataError as error:
            log.warning("passed over: %s: %s", path, error)
