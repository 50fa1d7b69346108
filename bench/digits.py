"""Digits of another script than MNIST's, in MNIST's four files: 28x28, ten classes, synthetic.

    python -m bench.digits FOLDER [--train 60000] [--test 10000]

Arabic-Indic digits of the fonts that come with matplotlib (DejaVu), each turned, sheared, scaled,
thickened and moved at random; keyed by a digit's number, so that a set is the same wherever
FreeType draws the same outlines.  Its tests are other draws of the same fonts: no new hands.
"""

import argparse
import gzip
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold")
"""Of matplotlib's, those that have the script."""
ZERO = "\u0660"
SIDE, LARGE, POINTS, STROKES = 28, 112, 104, 6
SEED = 0x0660
SPLITS = {"train": "train", "test": "t10k"}


def digit(index: int) -> tuple[NDArray[np.uint8], int]:
    """Digit number `index`, bright on black, and its class.  -> [28, 28]"""
    draw = np.random.default_rng((SEED, index))
    kind, font, stroke = (int(draw.integers(n)) for n in (10, len(FONTS), STROKES))
    turn, shear = draw.normal(0.0, (0.15, 0.15))
    across, along = np.exp(draw.normal(0.0, 0.12, 2)) * LARGE / SIDE
    shift = draw.normal(0.0, 1.3, 2)
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s], [s, c]]) @ np.array([[across, shear * along], [0.0, along]])
    offset = LARGE / 2 - matrix @ (SIDE / 2 + shift)  # an output pixel's place in the large one
    around = np.column_stack((matrix, offset)).ravel().tolist()
    glyph = _glyph(font, kind, stroke)
    image = glyph.transform((SIDE, SIDE), Image.Transform.AFFINE, around, Image.Resampling.BICUBIC)
    return np.asarray(image), kind


@cache
def _glyph(font: int, kind: int, stroke: int) -> Image.Image:
    """One digit of one font in the middle of a large image, softened against aliasing."""
    import matplotlib

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{FONTS[font]}.ttf")
    large = Image.new("L", (LARGE, LARGE))
    ImageDraw.Draw(large).text(
        (LARGE / 2, LARGE / 2), chr(ord(ZERO) + kind), fill=255, anchor="mm",
        font=ImageFont.truetype(file, POINTS), stroke_width=stroke,
    )  # fmt: skip
    box = large.getbbox()
    assert box is not None
    middle = ((box[0] + box[2] - LARGE) // 2, (box[1] + box[3] - LARGE) // 2)
    large = large.transform(
        (LARGE, LARGE), Image.Transform.AFFINE, (1, 0, middle[0], 0, 1, middle[1])
    )
    return large.resize((SIDE * 2, SIDE * 2), Image.Resampling.BOX).resize((LARGE, LARGE))


def write(folder: Path, counts: dict[str, int]) -> None:
    """The four files of a set, `counts` digits of each split."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for split, count in counts.items():
        drawn = [digit(i) for i in range(first, first + count)]
        _write(folder / f"{SPLITS[split]}-images-idx3-ubyte.gz", np.stack([x for x, _ in drawn]))
        _write(folder / f"{SPLITS[split]}-labels-idx1-ubyte.gz", np.array([y for _, y in drawn]))
        first += count


def _write(path: Path, array: NDArray[np.integer]) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0))


def main() -> None:
    """Writes the set that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.digits", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=60_000)
    parser.add_argument("--test", type=int, default=10_000)
    given = parser.parse_args()
    write(given.folder, {"train": given.train, "test": given.test})


if __name__ == "__main__":
    main()
