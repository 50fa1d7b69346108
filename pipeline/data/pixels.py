"""Encoded bytes of any common image -> uint8 pixels, and pixels -> the sizes of a shard set.

H height, W width, C channels, R resolution. `decode` gives [H, W, C]; from `square` on, planes
[C, R, R], on which means are quick.
"""

import io
import math
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stylealae.errors import DataError

__all__ = [
    "FITS",
    "Fit",
    "Pixels",
    "Planes",
    "decode",
    "mean2x2",
    "pyramid",
    "recoloured",
    "square",
]

Pixels = NDArray[np.uint8]
Planes = NDArray[np.uint8] | NDArray[np.float32]
Fit = Literal["crop", "pad"]

_MAX_PIXELS = 89_478_485  # Pillow's bound; larger claims are decompression bombs
_MAX_WORK = 2_000_000_000  # pixels times scans of a JPEG: a few bytes make another scan of all
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats of Pillow that start no other program, as its EPS does, whatever a file is called."""
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
_JPEG = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}  # modes that simplejpeg decodes, and its names
_WORDS = {"1": "black and white", "L": "grey", "P": "palette", "RGB": "colour"}
_TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")


def decode(data: bytes, channels: int) -> tuple[Pixels, tuple[str, ...]]:
    """Bytes of an image file -> [H, W, channels], upright, and the conversions that this took.

    DataError says why a file cannot be used.
    """
    if not data:
        raise DataError("the file is empty (0 bytes)")
    changes: list[str] = []
    try:
        image = _open(data)
        if getattr(image, "is_animated", False):
            changes.append("first of several frames")
        if image.mode.startswith("I") or re.search(
            "(RGBA?|LA|CMYK);16", str(getattr(image, "tile", ""))
        ):
            changes.append("16 bits to 8")
        if image.getexif().get(_ORIENTATION, 1) in _UPRIGHT:
            changes.append("turned upright")
        loaded = _loaded(image, data)
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))  # TIFF turns itself in loading
        plain, more = _plain(loaded, "L" if channels == 1 else "RGB")
    except DataError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything, from any format
        raise DataError(f"it cannot be decoded ({type(error).__name__}: {error})") from error
    if turn is not None:
        plain = plain.transpose(turn)
    pixels = np.asarray(plain, dtype=np.uint8).reshape(plain.height, plain.width, channels)
    return pixels, (*changes, *more)


def _open(data: bytes) -> Image.Image:
    """The image with its header read and its size within bounds."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if data.lstrip()[:1] == b"<":
            raise DataError("it is a web page, not an image: the download failed") from None
        raise DataError("it is no image of a known format") from None
    if image.width * image.height > _MAX_PIXELS:
        raise DataError(
            f"it claims {image.width}x{image.height} pixels, more than {_MAX_PIXELS:,}: "
            "a decompression bomb, or to be scaled down first"
        )
    return image


def _loaded(image: Image.Image, data: bytes) -> Image.Image:
    """The image with its pixels; JPEG through the one decoder that raises on every damaged file.

    Pillow decodes many a damaged PNG without a word: its checksums are verified first.
    """
    if image.format in ("JPEG", "MPO"):
        _require_few_scans(image, data)
    if image.format in ("JPEG", "MPO") and image.mode in _JPEG:
        pixels = simplejpeg.decode_jpeg(data, colorspace=_JPEG[image.mode])
        if image.mode == "CMYK":  # stored inverted, as Adobe does
            return Image.frombytes("CMYK", image.size, (255 - pixels).tobytes())
        return Image.fromarray(pixels.squeeze(2) if image.mode == "L" else pixels)
    if image.format == "PNG":
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()
    image.load()
    return image


def _require_few_scans(image: Image.Image, data: bytes) -> None:
    """Refuses a JPEG that goes over its pixels hundreds of times."""
    scans = data.count(b"\xff\xda")  # 0xff in the data of a scan is followed by 0
    if scans * image.width * image.height > _MAX_WORK:
        raise DataError(
            f"it draws {image.width}x{image.height} pixels in {scans:,} scans, and a photo has a "
            "dozen: save it anew"
        )


def _plain(image: Image.Image, mode: str) -> tuple[Image.Image, tuple[str, ...]]:
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
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert(mode), ("transparency on white",)
    if image.mode == mode:
        return image, ()
    change = f"{_WORDS.get(image.mode, image.mode)} to {'grey' if mode == 'L' else 'RGB'}"
    return image.convert(mode), (change,)


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
