"""The last images of several runs in one picture, cut out of the grids that training drew.

Legend: N images of a row, R pixels of a cell's side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.report.run import ImageGrid, Run
from stylealae.image_grid import Row, cell_box, image_grid, rows_in

__all__ = ["comparison_sheet"]

SHOWN = 8
"""Reconstructions of a run, and as many samples."""
SAMPLES, ORIGINALS = 1, 2
"""Rows of a grid of a model without an encoder, counted from the lowest, a second row of samples;
one with an encoder has its reconstructions below the originals."""


@dataclass(frozen=True)
class _Shown:
    """What is shown of a run: [N, 3, R, R] in [-1, 1] each."""

    originals: Tensor
    reconstructions: Tensor | None
    samples: Tensor


def comparison_sheet(names: Sequence[str], runs: Sequence[Run]) -> Image.Image | None:
    """A row a run: reconstructions of the originals above it, then samples; None without a grid."""
    found = [(name, shown) for name, run in zip(names, runs, strict=True) if (shown := _shown(run))]
    if not found:
        return None
    title = "left: reconstructions of the originals above them, right: samples"
    return image_grid(list(_rows(found)), columns=2 * SHOWN, title=title)


def _rows(found: Sequence[tuple[str, _Shown]]) -> Iterator[Row]:
    """Originals wherever they change, and the runs that were shown them."""
    above: Tensor | None = None
    for name, shown in found:
        if above is None or not torch.equal(above, shown.originals):
            above = shown.originals
            yield "originals", above
        blank = torch.ones_like(shown.originals)  # as white as the paper
        left = blank if shown.reconstructions is None else shown.reconstructions
        yield name, torch.cat((left, shown.samples))


def _shown(run: Run) -> _Shown | None:
    """What the last grid of a run shows; None where there is none, or it is not to be read."""
    if not run.grids:
        return None
    grid = run.grids[-1]
    try:
        with Image.open(grid.path, formats=["PNG"]) as image:
            picture = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):  # torn
        return None
    encodes = (rows := rows_in(picture.height, grid.resolution)) == ORIGINALS + 2
    if not encodes and rows != ORIGINALS + 1:
        return None
    return _Shown(
        _row(picture, grid, ORIGINALS + encodes),
        _row(picture, grid, ORIGINALS) if encodes else None,
        _row(picture, grid, SAMPLES),
    )


def _row(picture: Image.Image, grid: ImageGrid, row: int) -> Tensor:
    """The last SHOWN images of a row.  -> [N, 3, R, R] in [-1, 1]"""
    boxes = [cell_box(picture.size, grid.resolution, k, row) for k in reversed(range(SHOWN))]
    pixels = np.stack([np.asarray(picture.crop(box)) for box in boxes if box[0] >= 0])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
