"""Harmless faults of JPEG and PNG files, taken out so that a strict decoder reads the rest.

A fault is harmless if it loses no pixel. Whatever is mended is decoded strictly once more, so a
file that is also damaged is still refused.
"""

import re
import struct
import zlib
from collections.abc import Iterator

__all__ = ["mended_jpeg", "mended_png"]

_SOS, _EOI, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE
_SEQUENTIAL = (0xC0, 0xC1)  # frames whose only scan holds all of every pixel
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def mended_jpeg(data: bytes, complaint: str) -> bytes | None:
    """The file without the fault that a decoder complains of; None if it may have cost pixels."""
    if "Invalid SOS parameters" in complaint:
        return _with_plain_scan(data)
    if "JFIF revision" in complaint:
        return _patched(data, _APP0, 9, b"\x01\x01")
    if "Adobe color transform" in complaint:
        return _patched(data, _APP14, 15, b"\x01")
    if found := _EXTRANEOUS.search(complaint):
        return _without_filler(data, int(found[1]), int(found[2], 16))
    if "Premature end of JPEG file" in complaint and _is_one_scan(data):
        return data + b"\xff\xd9"
    return None


def mended_png(data: bytes) -> bytes | None:
    """The file without texts and broken extras, which hold no pixels; None if it has none."""
    kept, at, dropped = [_PNG], len(_PNG), False
    if not data.startswith(_PNG):
        return None
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + length
        extra = bool(name[0] & 32) and name != b"tRNS"
        broken = zlib.crc32(data[at + 4 : end - 4]).to_bytes(4, "big") != data[end - 4 : end]
        if name in _TEXTS or (extra and broken):
            dropped = True
        else:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]]) if dropped else None


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG, up to its first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill
            at += 1
            continue
        yield data[at + 1], at
        if data[at + 1] == _SOS:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _patched(data: bytes, marker: int, offset: int, value: bytes) -> bytes | None:
    at = next((at for found, at in _segments(data) if found == marker), None)
    return None if at is None else data[: at + offset] + value + data[at + offset + len(value) :]


def _with_plain_scan(data: bytes) -> bytes | None:
    """A scan of a sequential frame with the only parameters that it can have: 0, 63, 0."""
    where = dict(_segments(data))
    if _SOS not in where or where.keys().isdisjoint(_SEQUENTIAL):
        return None
    return _patched(data, _SOS, 5 + 2 * data[where[_SOS] + 4], b"\x00\x3f\x00")


def _without_filler(data: bytes, count: int, marker: int) -> bytes | None:
    """Without bytes that the decoder skipped, if they are filler and no lost part of a scan."""
    scan = dict(_segments(data)).get(_SOS, 0)
    at = data.find(bytes([0xFF, marker]), scan if marker == _EOI else 2)
    skipped = data[at - count : at]
    if at < count or len(set(skipped)) != 1 or (marker != _EOI and scan and at > scan):
        return None
    return data[: at - count] + data[at:]


def _is_one_scan(data: bytes) -> bool:
    """Whether all of the picture is in one scan: nothing else can be missing behind it."""
    where = dict(_segments(data))
    frame = next((at for marker, at in where.items() if marker in _SEQUENTIAL), None)
    scan = where.get(_SOS)
    return frame is not None and scan is not None and data[scan + 4] == data[frame + 9]
