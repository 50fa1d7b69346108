"""Contact sheets: batches of images laid out as labelled rows in one picture.

Legend: N images of a row, C channels, R resolution.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["Row", "contact_sheet", "to_uint8"]

Row = tuple[str, Tensor]
GAP, MARGIN, CAPTION = 2, 8, 18
PAPER, INK = (255, 255, 255), (40, 40, 40)


def to_uint8(x: Tensor) -> np.ndarray:
    """Images for people.  [N, C, R, R] in [-1, 1] -> uint8 [N, R, R, 3]"""
    pixels = x.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().cpu()
    return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def contact_sheet(rows: Sequence[Row], *, tile: int = 64, columns: int = 16) -> Image.Image:
    """Captioned rows of images, each enlarged to at least `tile` pixels by whole factors.

    A row longer than `columns` is broken into several.
    """
    height, lines = MARGIN, []
    for caption, x in rows:
        images = to_uint8(x)
        lines.append((height, caption, images))
        side = _side(images, tile)
        height += CAPTION + -(-len(images) // columns) * (side + GAP) + MARGIN
    width = 2 * MARGIN + max(min(len(i), columns) * (_side(i, tile) + GAP) for _, _, i in lines)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for top, caption, images in lines:
        pen.text((MARGIN, top), caption, fill=INK, font=font)
        side = _side(images, tile)
        for k, pixels in enumerate(images):
            row, column = divmod(k, columns)
            picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            at = (MARGIN + column * (side + GAP), top + CAPTION + row * (side + GAP))
            sheet.paste(picture, at)
    return sheet


def _side(images: np.ndarray, tile: int) -> int:
    resolution: int = images.shape[1]
    return resolution * max(1, -(-tile // resolution))
