"""The same faces through the stages of a run, cut out of the grids that training drew.

R resolution; a grid has a row of originals, one of their reconstructions and two of samples, whose
cells end at its right and lower margins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pipeline.report.document import png_uri
from pipeline.report.run import ImageGrid, Run
from stylealae.image_grid import CELL, cell_box

__all__ = ["FacesByStage", "faces_by_stage", "faces_table"]

FACES = 3
"""Reconstructions, and as many samples."""
SHOWN = 96
TIMES = "×"  # noqa: RUF001
RECONSTRUCTIONS, ORIGINALS = 2, 3
"""Their rows, counted from the lowest, the second row of samples."""


@dataclass(frozen=True)
class FacesByStage:
    """Small pictures, face by face, each at every resolution."""

    resolutions: Sequence[int]
    samples: Sequence[Sequence[Image.Image]]
    reconstructions: Sequence[Sequence[Image.Image]]
    originals: Sequence[Image.Image]
    """Of the reconstructions, at the last resolution."""


def faces_table(run: Run) -> str:
    """The same faces at every resolution: samples of fixed seeds, held-out images reconstructed."""
    found = (
        faces_by_stage(run.grids) if run.config.get("family", "stylealae") == "stylealae" else None
    )
    if found is None:
        return ""
    heads = "".join(f"<th>{r}{TIMES}{r}</th>" for r in found.resolutions)
    rows = [_strip(f"Sample {k + 1}", some) for k, some in enumerate(found.samples)]
    pairs = zip(found.reconstructions, found.originals, strict=True)
    rows += [_strip(f"Held-out {k + 1}", [*some, x]) for k, (some, x) in enumerate(pairs)]
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{heads}<th>original</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><p>Samples of the same seeds, then "
        "reconstructions of the same held-out images, at the end of every stage.</p>"
    )


def _strip(name: str, pictures: Sequence[Image.Image]) -> str:
    cells = (f'<td><img src="{png_uri(x)}" alt="{name}"></td>' for x in pictures)
    return f"<tr>{''.join(cells)}</tr>"


def faces_by_stage(grids: Sequence[ImageGrid]) -> FacesByStage | None:
    """The faces of the last grid of every stage, in the order of growth; None of a single stage."""
    last = {grid.resolution: grid for grid in grids}
    pictures = []
    for resolution, grid in sorted(last.items()):
        try:
            with Image.open(grid.path, formats=["PNG"]) as image:
                pictures.append((resolution, image.convert("RGB")))
        except (OSError, ValueError, Image.DecompressionBombError):  # torn
            continue
    least = (CELL * FACES, CELL * (ORIGINALS + 1))
    if len(pictures) < 2 or any(s.width < least[0] or s.height < least[1] for _, s in pictures):
        return None
    faces = range(FACES)
    return FacesByStage(
        [resolution for resolution, _ in pictures],
        [[_tile(picture, r, k, 0) for r, picture in pictures] for k in faces],
        [[_tile(picture, r, k, RECONSTRUCTIONS) for r, picture in pictures] for k in faces],
        [_tile(pictures[-1][1], pictures[-1][0], k, ORIGINALS) for k in faces],
    )


def _tile(picture: Image.Image, resolution: int, column: int, row: int) -> Image.Image:
    """A cell of a grid, counted from its lower right corner."""
    tile = picture.crop(cell_box(picture.size, resolution, column, row))
    way = Image.Resampling.NEAREST if resolution < SHOWN else Image.Resampling.LANCZOS
    return tile.resize((SHOWN, SHOWN), way)
