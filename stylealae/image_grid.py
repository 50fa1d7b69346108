"""Image grids: batches of images as captioned rows under captioned columns, in one picture.

Legend: N images of a row, C channels, R resolution.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["CELL", "Row", "cell_box", "image_grid", "paired_grid", "rows_in", "to_uint8"]

Row = tuple[str, Tensor]
PAPER, INK = (255, 255, 255), (40, 40, 40)
CELL = 64
"""Side of a cell, unless images are larger."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def to_uint8(x: Tensor) -> np.ndarray:
    """Images for people.  [N, C, R, R] in [-1, 1] -> uint8 [N, R, R, 3]"""
    pixels = x.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte().cpu()
    return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def image_grid(
    rows: Sequence[Row],
    *,
    tile: int = CELL,
    columns: int = 16,
    headings: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """Rows of images with their captions at the left, headings above the columns, a title on top.

    Every image fills a cell of the largest resolution, at least `tile` pixels wide, enlarged by
    whole factors. A row longer than `columns` is broken into several.
    """
    cell = max(_side(x.shape[-1], tile) for _, x in rows)
    size, gap = _sizes(cell)
    font = _font(size, [title, *headings, *(caption for caption, _ in rows)])
    line, margin = size + size // 4, size
    captions = [_wrapped(caption, font, 11 * size) for caption, _ in rows]
    gutter = margin + max(_width(text, font) for text in captions)
    gutter += margin if gutter > margin else 0
    tops = [_wrapped(heading, font, cell) for heading in headings]
    head = margin + (line + gap if title else 0)
    top = head + (line * max(map(len, tops)) + gap if tops else 0)

    across = max(min(len(x), columns) for _, x in rows)
    width = gutter + across * (cell + gap) - gap + margin
    heights = [max(-(-len(x) // columns) * (cell + gap), line * len(c) + gap)
               for (_, x), c in zip(rows, captions, strict=True)]  # fmt: skip
    width = max(width, 2 * margin + _width([title], font))
    sheet = Image.new("RGB", (width, top + sum(heights) - gap + margin), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((margin, margin), title, fill=INK, font=font)
    for k, text in enumerate(tops):
        middle = gutter + k * (cell + gap) + cell // 2
        for i, words in enumerate(text):
            at = (middle, top - gap - line * (len(text) - i))
            pen.text(at, words, fill=INK, font=font, anchor="ma")
    for (_, x), caption, height in zip(rows, captions, heights, strict=True):
        first = top + max(0, (min(cell, height) - line * len(caption)) // 2)
        for i, words in enumerate(caption):
            pen.text((margin, first + i * line), words, fill=INK, font=font)
        _lay(sheet, to_uint8(x), (gutter, top), cell, gap, columns)
        top += height
    return sheet


def cell_box(
    size: tuple[int, int], resolution: int, column: int, row: int
) -> tuple[int, int, int, int]:
    """Where an image lies in a grid of full rows, counted from the lower right: 0, 0 is the last.

    Left, top, right and lower edge, for a grid of that size of images of that resolution.
    """
    cell = _side(resolution, CELL)
    margin, gap = _sizes(cell)
    right = size[0] - margin - column * (cell + gap)
    low = size[1] - margin - row * (cell + gap)
    return right - cell, low - cell, right, low


def rows_in(height: int, resolution: int) -> int:
    """Rows of images in a grid that is so high, of images of that resolution, without a title."""
    cell = _side(resolution, CELL)
    margin, gap = _sizes(cell)
    return (height - 2 * margin + gap) // (cell + gap)


def paired_grid(
    rows: Sequence[Row], headings: Sequence[str], *, tile: int = 96, columns: int = 8
) -> Image.Image:
    """Rows whose images belong together column by column, broken into lines together."""
    sheets = [
        image_grid(
            [(caption, x[k : k + columns]) for caption, x in rows],
            headings=headings[k : k + columns],
            tile=tile,
        )
        for k in range(0, len(headings), columns)
    ]
    size = (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets))
    page, top = Image.new("RGB", size, PAPER), 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    return page


def _lay(
    sheet: Image.Image, images: np.ndarray, at: tuple[int, int], cell: int, gap: int, columns: int
) -> None:
    """One row's images, each in the middle of its cell."""
    side = cell // images.shape[1] * images.shape[1]
    for k, pixels in enumerate(images):
        row, column = divmod(k, columns)
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
        inset = (cell - side) // 2
        corner = (at[0] + column * (cell + gap) + inset, at[1] + row * (cell + gap) + inset)
        sheet.paste(picture, corner)


def _sizes(cell: int) -> tuple[int, int]:
    """Of the letters, which is that of the margins, and of the gaps between cells."""
    return min(max(12, cell // 10), 40), max(2, cell // 32)


def _font(size: int, texts: Sequence[str]) -> Font:
    """Pillow's own, which has English letters alone, or for others one of matplotlib or of here."""
    if all(text.isascii() for text in texts):
        return ImageFont.load_default(size)
    found = find_spec("matplotlib")
    beside = found.submodule_search_locations if found else None
    for folder in beside or ():
        file = Path(folder) / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if file.exists():
            return ImageFont.truetype(file, size)
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _side(resolution: int, tile: int) -> int:
    """The least multiple of a resolution that is at least `tile`."""
    return resolution * max(1, -(-tile // resolution))


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Lines no wider than that, broken between words; a longer word loses its middle."""
    lines: list[str] = []
    for part in text.split("\n") if text else ():
        lines.append("")
        for word in part.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and font.getlength(longer) > width:
                lines.append(_shortened(word, font, width))
            else:
                lines[-1] = longer if lines[-1] else _shortened(word, font, width)
    return lines


def _shortened(word: str, font: Font, width: int) -> str:
    kept = len(word)
    short = word
    while font.getlength(short) > width and kept > 2:
        kept -= 1
        short = f"{word[: kept - kept // 2]}…{word[len(word) - kept // 2 :]}"
    return short


def _width(lines: Sequence[str], font: Font) -> int:
    return max((int(font.getlength(text)) + 1 for text in lines if text), default=0)
