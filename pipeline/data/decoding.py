"""Encoded bytes of any common image -> upright 8-bit pixels of sRGB.

H height, W width, C channels
"""

import importlib
import io
import logging
import re
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.data.colour import to_srgb
from pipeline.data.jpeg import SOS, segments_of
from pipeline.data.mending import HARMLESS, LOST_PROFILE, mended_jpeg, mended_png
from pipeline.data.pixels import Pixels
from pipeline.data.signatures import is_heif, naming, unread_jpeg
from pipeline.data.tags import is_deep, untold_colours, what_tiff_leaves_out
from stylealae.errors import DataError

__all__ = ["decode", "losses", "open_header"]

MAX_PIXELS = 89_478_485  # Pillow's bound; larger claims are decompression bombs
MAX_WORK = 2_000_000_000  # pixels times scans of a JPEG: a few bytes make another scan of all
SMALL_PIXELS, SMALL_PIXELS_PNG = 1 << 24, 1 << 26  # for which a file of few bytes may ask
MAX_PIXELS_A_BYTE = 200  # of larger ones
MENDINGS = 4  # faults of one JPEG
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats of Pillow that start no other program, as its EPS does, whatever a file is called."""
_WHOLE = re.compile(r".* to (RGB|grey|8|sRGB)|turned upright")
"""Conversions after which everything is still there to be seen."""
ON_WHITE = "transparency on white"
SECOND = "read by the second decoder"
_SIXTEEN = re.compile("(RGB[AXa]?|LA|CMYK);16")
_EMPTY = "16 bits of which the upper {} are empty"
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF
_HOLLOW = ("BMP", "DIB", "TGA")
"""Formats whose programs often write four bytes a pixel and nothing into the fourth."""
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

# What Pillow has to say of a file is said here: the image is refused, or its conversion counted.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def decode(data: bytes, channels: int) -> tuple[Pixels, tuple[str, ...]]:
    """Bytes of an image file -> [H, W, channels], upright, and the conversions that this took.

    DataError says why a file cannot be used.
    """
    image, data, faults = open_header(data)
    changes: list[str] = []
    try:
        if image.format == "TIFF":
            changes += what_tiff_leaves_out(image)
        if getattr(image, "is_animated", False):
            changes.append("first of several frames")
        sixteen = _SIXTEEN.search(str(getattr(image, "tile", "")))
        if image.mode.startswith("I") or sixteen:
            changes.append("16 bits to 8")
        elif is_deep(image, data):
            changes.append("more than 8 bits to 8")
        turn, odd = _orientation(image)
        if turn is not None:
            changes.append("turned upright")
        faults += odd
        icc = image.info.get("icc_profile")
        changes += () if icc else untold_colours(image, data)
        loaded, odd = _loaded(image, data)
        if turn is not None:  # TIFF turns itself in loading
            turn, _ = _orientation(image)
        faults += odd
        faults += _empty_bits(loaded) if sixteen else ()
        plain, more = _plain(loaded, "L" if channels == 1 else "RGB", icc)
    except DataError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly anything, from any format
        if image.format == "JPEG" and (odd_kind := unread_jpeg(data)):
            raise DataError(odd_kind) from error
        raise DataError(f"it cannot be decoded ({type(error).__name__}: {error})") from error
    if turn is not None:
        plain = plain.transpose(turn)
    pixels = np.asarray(plain, dtype=np.uint8).reshape(plain.height, plain.width, channels)
    return pixels, (*changes, *more, *faults)


def losses(changes: Iterable[str]) -> tuple[str, ...]:
    """Those conversions of `decode` by which something of a file is not shown."""
    plain = (HARMLESS, SECOND, ON_WHITE)  # which most programs write where nothing is clear
    return tuple(said for said in changes if said not in plain and not _WHOLE.fullmatch(said))


def open_header(data: bytes) -> tuple[Image.Image, bytes, tuple[str, ...]]:
    """The image with its header read, its bytes without harmless faults, and these faults.

    Raises:
        DataError: it is none, of a format that is not read, or claims too many pixels.
    """
    if not data:
        raise DataError("the file is empty (0 bytes)")
    try:
        image, data, faults = _opened(data)
    except UnidentifiedImageError:
        raise DataError(naming(data)) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"it claims more than {2 * MAX_PIXELS:,} pixels: a decompression bomb, or to be scaled "
            "down first"
        ) from None
    except Exception as error:  # damaged headers make Pillow raise nearly anything
        raise DataError(f"it cannot be decoded ({type(error).__name__}: {error})") from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"it claims {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}: "
            "a decompression bomb, or to be scaled down first"
        )
    small = SMALL_PIXELS_PNG if image.format == "PNG" else SMALL_PIXELS
    if image.width * image.height > max(small, MAX_PIXELS_A_BYTE * len(data)):
        raise DataError(
            f"it claims {image.width}x{image.height} pixels in {len(data):,} bytes, and no photo "
            "is so plain: a decompression bomb"
        )
    return image, data, faults


def _opened(data: bytes) -> tuple[Image.Image, bytes, tuple[str, ...]]:
    """The image, its bytes and their harmless faults; whatever Pillow raises."""
    formats = (*FORMATS, "HEIF") if is_heif(data) and _reads_heif() else FORMATS
    try:
        return Image.open(io.BytesIO(data), formats=formats), data, ()
    except Image.DecompressionBombError:
        raise
    except Exception:
        for mended, fault in mended_png(data):
            with suppress(Exception):
                return Image.open(io.BytesIO(mended), formats=("PNG",)), mended, (fault,)
        raise


def _reads_heif() -> bool:
    """Whether Pillow can be taught HEIC here, which is then done."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def _orientation(image: Image.Image) -> tuple[Image.Transpose | None, tuple[str, ...]]:
    """What turns the image upright, None for nothing; and whether its EXIF cannot be read."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1)), ()
    except Exception:  # Pillow's parsers raise nearly anything
        return None, ("unreadable EXIF left out",)


def _loaded(image: Image.Image, data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """The image with its pixels, by decoders that raise on damage, and what they passed over."""
    if image.format in ("JPEG", "MPO"):
        _require_few_scans(image, data)
        if image.mode in _JPEG:
            return _loaded_jpeg(image, data)
    if image.format == "PNG":
        try:
            _require_checksums(data)
            image.load()
            return image, _lost_profile(image, data)
        except Exception:
            for mended, fault in mended_png(data):
                with suppress(Exception):
                    _require_checksums(mended)
                    image = Image.open(io.BytesIO(mended), formats=("PNG",))
                    image.load()
                    return image, (fault,)
            raise
    image.load()
    return image, ()


def _lost_profile(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """Whether a PNG has a profile that Pillow passed over."""
    there = b"iCCP" in data[: data.find(b"IDAT")]
    return (LOST_PROFILE,) if there and not image.info.get("icc_profile") else ()


def _require_checksums(data: bytes) -> None:
    """Raises if a checksum of a PNG is wrong: Pillow decodes many a damaged one without a word."""
    Image.open(io.BytesIO(data), formats=("PNG",)).verify()


def _loaded_jpeg(image: Image.Image, data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """A JPEG through the one decoder that raises on every damaged file."""
    faults: tuple[str, ...] = ()
    for _ in range(MENDINGS):
        try:
            pixels = simplejpeg.decode_jpeg(data, colorspace=_JPEG[image.mode])
            break
        except ValueError as error:
            if "subsampling" in str(error):  # Pillow knows more of them, and less of damage
                image.load()
                return image, (SECOND,)
            if (mended := mended_jpeg(data, str(error))) is None:
                raise
            data, faults = mended, (HARMLESS,)
    else:
        raise DataError("it cannot be decoded: its JPEG has too many faults")
    if image.mode == "CMYK":  # stored inverted, as Adobe does
        return Image.frombytes("CMYK", image.size, (255 - pixels).tobytes()), faults
    return Image.fromarray(pixels.squeeze(2) if image.mode == "L" else pixels), faults


def _require_few_scans(image: Image.Image, data: bytes) -> None:
    """Refuses a JPEG that goes over its pixels hundreds of times."""
    pixels = image.width * image.height
    if data.count(b"\xff\xda") * pixels <= MAX_WORK:  # whatever else these bytes may be
        return
    scans = sum(marker == SOS for marker, _ in segments_of(data))
    if scans * pixels > MAX_WORK:
        raise DataError(
            f"it draws {image.width}x{image.height} pixels in {scans:,} scans, and a photo has a "
            "dozen: save it anew"
        )


def _plain(image: Image.Image, mode: str, icc: bytes | None) -> tuple[Image.Image, tuple[str, ...]]:
    """8 bits of sRGB, no palette and no transparency (shown on white), in `mode` L or RGB."""
    changes: tuple[str, ...] = ()
    if image.mode.startswith("I"):  # I;16 and its relatives: 16 bits of grey
        image, changes = _eight_bits(image)
    elif image.mode == "F":
        raise DataError("its pixels are floating point: save it with 8 or 16 bits")
    if (
        image.format in _HOLLOW
        and image.mode == "RGBA"
        and image.getchannel("A").getextrema() == (0, 0)
    ):
        image, changes = image.convert("RGB"), (*changes, "empty transparency left out")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        grey = image.mode in ("1", "L", "LA", "La")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if grey else "RGB")
        changes += (ON_WHITE,)
    elif image.mode != mode:
        changes += (f"{_WORDS.get(image.mode, image.mode)} to {'grey' if mode == 'L' else 'RGB'}",)
    if icc and image.mode == "P":
        image = image.convert("RGB")
    image, managed = to_srgb(image, icc)
    return image if image.mode == mode else image.convert(mode), (*changes, *managed)


def _empty_bits(image: Image.Image) -> tuple[str, ...]:
    """Whether the upper bits of its colours are empty, of which these are the upper eight."""
    colours = [band for band in image.getbands() if band != "A"]
    most = max(int(np.asarray(image.getchannel(band)).max()) for band in colours)
    empty = 8 - most.bit_length()
    return (_EMPTY.format(empty),) if empty >= 2 else ()


def _eight_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """16 bits of grey, scaled to 8, and what is odd about them."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (16,)))
    if bits > 16:
        raise DataError(
            f"its pixels are whole numbers of {bits} bits, of which nobody knows what is white: "
            "save it with 8 or 16 bits"
        )
    deep: NDArray[Any] = np.asarray(image)
    if deep.min() < 0 or deep.max() > 65535:
        raise DataError(f"its values span {deep.min()} to {deep.max()}: save it with 8 or 16 bits")
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white, which Pillow minds with 8 bits and fewer
        deep = 65535 - deep
    empty = 16 - int(deep.max()).bit_length()
    odd = [_EMPTY.format(empty)] if 2 <= empty < 16 else []
    eight = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if (clear := deep == image.info.get("transparency", -1)).any():
        eight[clear] = 255
        odd.append(ON_WHITE)
    return Image.fromarray(eight), tuple(odd)
