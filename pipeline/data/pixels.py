"""Pixels -> the sizes of a shard set.

H height, W width, C channels, R resolution. An image is [H, W, C]; from `square` on, it is planes
[C, R, R], on which means are quick.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylealae.errors import DataError

__all__ = [
    "FITS",
    "Fit",
    "Pixels",
    "Planes",
    "mean2x2",
    "pyramid",
    "recoloured",
    "square",
]

Pixels = NDArray[np.uint8]
Planes = NDArray[np.uint8] | NDArray[np.float32]
Fit = Literal["crop", "pad"]


MAX_PAGE = 1 << 28  # pixels of an image with its border, 800 MB in colours: 16,384 x 16,384


def recoloured(image: Pixels, channels: int) -> tuple[Pixels, tuple[str, ...]]:
    """[H, W, 1 or 3] -> [H, W, channels] and the conversion that this took, as `decode` does it."""
    if image.shape[2] == channels:
        return image, ()
    if channels == 3:
        return np.repeat(image, 3, axis=2), ("grey to RGB",)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None], ("colour to grey",)


def _crop(image: Pixels) -> tuple[Pixels, str]:
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side], "cropped to a square"


def _pad(image: Pixels) -> tuple[Pixels, str]:
    height, width, channels = image.shape
    side = max(height, width)
    if side * side > MAX_PAGE:
        raise DataError(
            f"it is {width}x{height}, and a square around it would have {side * side:,} pixels, "
            f"more than {MAX_PAGE:,}: cut it first"
        )
    top, left = (side - height) // 2, (side - width) // 2
    page = np.zeros((side, side, channels), np.uint8)
    page[top : top + height, left : left + width] = image
    return page, "padded to a square"


FITS: dict[Fit, Callable[[Pixels], tuple[Pixels, str]]] = {"crop": _crop, "pad": _pad}
"""What makes an image square: the middle of it is cut out, or black is put around it."""


def square(image: Pixels, side: int, fit: Fit = "crop") -> tuple[Planes, tuple[str, ...]]:
    """[H, W, C] -> [C, side, side], and what this took: a crop or a border, an enlargement.

    A square of `side` times a power of two is shrunk by 2x2 means, as the smaller resolutions are,
    so a dataset prepared up to 256 equals the same resolutions of one prepared up to 1024.

    Raises:
        DataError: the image is so long that its border would not fit into memory.
    """
    changes: list[str] = []
    if image.shape[0] != image.shape[1]:
        image, change = FITS[fit](image)
        changes.append(change)
    found, _, channels = image.shape
    if found < side:
        changes.append("enlarged")
    if found < side or not math.log2(found / side).is_integer():
        picture = Image.fromarray(image.squeeze(2) if channels == 1 else image)
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        image = np.asarray(picture).reshape(side, side, channels)
    planes: Planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    while planes.shape[1] > side:
        planes = mean2x2(planes)
    return planes, tuple(changes)


def mean2x2(planes: Planes) -> NDArray[np.float32]:
    """[C, R, R] -> [C, R/2, R/2]: 2x2 means; exact in float32 for 8-bit pixels, down to 256:1."""
    wide = np.uint16 if planes.dtype == np.uint8 else np.float32
    rows = np.add(planes[:, 0::2], planes[:, 1::2], dtype=wide)  # [C, R/2, R]
    return (rows[:, :, 0::2] + rows[:, :, 1::2]).astype(np.float32) * np.float32(0.25)


def pyramid(planes: Planes, resolutions: tuple[int, ...]) -> dict[int, Pixels]:
    """[C, R, R] of the largest resolution -> [C, r, r] for each r, by 2x2 means, rounded once."""
    made: dict[int, Pixels] = {}
    for resolution in sorted(resolutions, reverse=True):
        while planes.shape[1] > resolution:
            planes = mean2x2(planes)
        made[resolution] = _rounded(planes)
    return made


def _rounded(planes: Planes) -> Pixels:
    whole = planes if planes.dtype == np.uint8 else np.rint(planes)
    return whole.astype(np.uint8, copy=False)
