"""Encoded bytes of any common image -> uint8 pixels, and pixels -> the sizes of a shard set."""

import io
import math
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stylealae.errors import DataError

__all__ = ["Pixels", "decode", "mean2x2", "pyramid", "square"]

Pixels = NDArray[np.uint8]

_MAX_PIXELS = 89_478_485  # Pillow's bound; larger claims are decompression bombs
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, channels: int) -> Pixels:
    """Bytes of an image file -> [H, W, channels], upright; DataError says why it cannot be used."""
    if not data:
        raise DataError("the file is empty (0 bytes)")
    try:
        image = _open(data)
        pixels = _loaded(image, data)
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))  # TIFF turns itself in loading
        pixels = _plain(pixels, "L" if channels == 1 else "RGB")
    except DataError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything, from any format
        raise DataError(f"it cannot be decoded ({type(error).__name__}: {error})") from error
    if turn is not None:
        pixels = pixels.transpose(turn)
    return np.asarray(pixels, dtype=np.uint8).reshape(pixels.height, pixels.width, channels)


def _open(data: bytes) -> Image.Image:
    """The image with its header read and its size within bounds."""
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise DataError("it is no image of a known format") from None
    if image.width * image.height > _MAX_PIXELS:
        raise DataError(
            f"it claims {image.width}x{image.height} pixels, more than {_MAX_PIXELS:,}: "
            "a decompression bomb, or to be scaled down first"
        )
    return image


def _loaded(image: Image.Image, data: bytes) -> Image.Image:
    """The image with its pixels; JPEG through the one decoder that raises on every damaged file."""
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        colours = "GRAY" if image.mode == "L" else "RGB"
        pixels = simplejpeg.decode_jpeg(data, colorspace=colours)
        return Image.fromarray(pixels.squeeze(2) if image.mode == "L" else pixels)
    image.load()
    return image


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """8 bits, no palette and no transparency (shown on white), in `mode` L or RGB."""
    if image.mode.startswith("I"):  # I;16 and its relatives: 16 bits of grey
        deep: NDArray[Any] = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise DataError(
                f"its values span {deep.min()} to {deep.max()}: save it with 8 or 16 bits"
            )
        image = Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise DataError("its pixels are floating point: save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image)
    return image if image.mode == mode else image.convert(mode)


def square(image: Pixels, side: int) -> tuple[NDArray[np.float32], bool]:
    """[H, W, C] -> the centre crop as [side, side, C], and whether it had to be enlarged.

    A crop of `side` times a power of two is shrunk by 2x2 means, as the smaller resolutions are, so
    a dataset prepared up to 256 equals the same resolutions of one prepared up to 1024.
    """
    height, width, channels = image.shape
    found = min(height, width)
    top, left = (height - found) // 2, (width - found) // 2
    crop = image[top : top + found, left : left + found]
    times = found / side
    if times >= 1 and math.log2(times).is_integer():
        pixels = crop.astype(np.float32)
        while pixels.shape[0] > side:
            pixels = mean2x2(pixels)
        return pixels, False
    picture = Image.fromarray(crop.squeeze(2) if channels == 1 else crop)
    picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.float32).reshape(side, side, channels), found < side


def mean2x2(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """[H, W, C] -> [H/2, W/2, C]: 2x2 means; exact in float32 for 8-bit pixels, down to 256:1."""
    return (
        image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2]
    ) * np.float32(0.25)


def pyramid(image: NDArray[np.float32], resolutions: tuple[int, ...]) -> dict[int, Pixels]:
    """[R, R, C] of the largest resolution -> [C, r, r] for each r, by 2x2 means, rounded once."""
    made: dict[int, Pixels] = {}
    for resolution in sorted(resolutions, reverse=True):
        while image.shape[0] > resolution:
            image = mean2x2(image)
        made[resolution] = np.ascontiguousarray(np.rint(image).astype(np.uint8).transpose(2, 0, 1))
    return made
