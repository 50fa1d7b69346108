"""What a file says of its pixels beside its ICC profile: their bits, and colours other than sRGB's.

Both are counted and nothing is done about the second: pixels are taken as those of sRGB.
"""

import struct
from contextlib import suppress

from PIL import Image

from stylealae.errors import DataError

__all__ = ["is_deep", "untold_colours", "what_tiff_leaves_out"]

HEAD = 1 << 14  # bytes in which containers say what they hold
_PRIMARIES, _TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)  # of H.273: those of sRGB, or like it
_GAMMAS = range(43_000, 48_000)  # 1/2.2 and its neighbours, in 100,000ths
_EXIF, _INTEROP, _SPACE, _INDEX = 0x8769, 0xA005, 0xA001, 1
_SUBFILE, _BITS, _COMPRESSION, _SAMPLES, _PLANAR, _FORMAT = 254, 258, 259, 277, 284, 339
_ADOBE_RGB = 2  # as some cameras write it; "R03" is by the standard


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether a file of a format that Pillow reads with 8 bits has more."""
    head = data[:HEAD]
    if image.format == "PPM":
        tile = getattr(image, "tile", None)
        args = tile[0][3] if tile else ()
        return isinstance(args, tuple) and isinstance(args[-1], int) and args[-1] > 255
    if image.format == "AVIF":
        at = head.find(b"av1C")
        return at >= 0 and bool(head[at + 6 : at + 7]) and bool(head[at + 6] & 0x40)
    if image.format == "JPEG2000":
        at = head.find(b"\xff\x51") + 40  # SIZ: then the bits of each component
        return at > 40 and bool(head[at : at + 1]) and (head[at] & 0x7F) + 1 > 8
    return int(image.info.get("bit_depth", 8)) > 8


def untold_colours(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """What a file without a profile says of its colours, if these are not sRGB's."""
    found = ""
    if image.format == "PNG":
        found = _of_png(data)
    elif image.format in ("AVIF", "HEIF"):
        at = data[:HEAD].find(b"nclx")
        found = _coded(struct.unpack_from(">HH", data, at + 4)) if at >= 0 else ""
    elif image.format in ("JPEG", "MPO", "TIFF", "WEBP"):
        found = _of_exif(image)
    return (f"{found} taken for sRGB",) if found else ()


def what_tiff_leaves_out(image: Image.Image) -> tuple[str, ...]:
    """What is left out of a TIFF by its tags.

    Raises:
        DataError: Pillow would make another picture of it without a word.
    """
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (8,)))
    if int(tags.get(_SUBFILE, 0)) & 1:
        raise DataError(
            "its first picture is a thumbnail of another one, as in cameras' raw files: export it "
            "as PNG or JPEG"
        )
    if bits <= 16 and 2 in tags.get(_FORMAT, ()):
        raise DataError(
            "its pixels are signed numbers, of which nobody knows what is white: save it with 8 or "
            "16 bits without a sign"
        )
    if bits > 8 and tags.get(_PLANAR) == 2 and tags.get(_COMPRESSION, 1) == 1:
        raise DataError(
            "its colours of more than 8 bits lie one behind the other, which is not read here: "
            "save it as PNG"
        )
    more = tags.get(_SAMPLES, 1) > len(image.getbands())
    return ("further channels left out",) if more else ()


def _of_png(data: bytes) -> str:
    head = data[: data.find(b"IDAT")]
    at = head.find(b"cICP")
    if at >= 0 and len(head) >= at + 6:
        return _coded((head[at + 4], head[at + 5]))
    at = head.find(b"gAMA")
    if at >= 0 and b"sRGB" not in head and len(head) >= at + 8:
        gamma = int.from_bytes(head[at + 4 : at + 8], "big")
        return "" if gamma in _GAMMAS else f"gamma {gamma / 1e5:.2f}"
    return ""


def _coded(points: tuple[int, ...]) -> str:
    """Code points of H.273 for primaries and transfer."""
    primaries, transfer = points
    if primaries in _PRIMARIES and transfer in _TRANSFERS:
        return ""
    names = {9: "Rec. 2020", 12: "Display P3"}
    curves = dict.fromkeys(_TRANSFERS, "") | {16: ", PQ", 18: ", HLG"}
    curve = curves.get(transfer, f", transfer {transfer}")
    return f"{names.get(primaries, f'primaries {primaries}')}{curve}"


def _of_exif(image: Image.Image) -> str:
    with suppress(Exception):  # Pillow's parsers raise nearly anything
        exif = image.getexif()
        about = exif.get_ifd(_EXIF)
        index = exif.get_ifd(_INTEROP).get(_INDEX) or about.get(_INTEROP, {}).get(_INDEX)
        if about.get(_SPACE) == _ADOBE_RGB or str(index).startswith("R03"):
            return "Adobe RGB of EXIF"
    return ""
