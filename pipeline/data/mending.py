"""Harmless faults of JPEG and PNG files, taken out so that a strict decoder reads the rest.

A fault is harmless if it loses no pixel. Whatever is mended is decoded strictly once more, so a
file that is also damaged is still refused.
"""

import re
import zlib
from collections.abc import Iterator

from pipeline.data.jpeg import SOS, segments_of

__all__ = ["HARMLESS", "LOST_PROFILE", "mended_jpeg", "mended_png"]

HARMLESS = "harmless faults passed over"
LOST_PROFILE = "unreadable ICC profile left out"

_SOF2, _EOI, _APP0, _APP2, _APP14 = 0xC2, 0xD9, 0xE0, 0xE2, 0xEE
_SEQUENTIAL = (0xC0, 0xC1)  # frames whose only scan holds all of every pixel
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_PNG = b"\x89PNG\r\n\x1a\n"
_IEND = bytes(4) + b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
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
    if "ICC" in complaint:
        return _without_icc(data)
    if "Premature end of JPEG file" in complaint and (_is_one_scan(data) or _has_every_bit(data)):
        return data + b"\xff\xd9"
    return None


def mended_png(data: bytes) -> Iterator[tuple[bytes, str]]:
    """The file without its texts and broken extras, then without any; and what that is called.

    Neither holds pixels. An end mark that is missing is added: whether all pixels are before it
    their own checksums say.
    """
    if not data.startswith(_PNG):
        return
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at:end]))
        at = end
    if at == len(data) and chunks and chunks[-1][0] != b"IEND":
        chunks.append((b"IEND", _IEND))
    sound = [(name, chunk) for name, chunk in chunks if name not in _TEXTS and _is_sound(chunk)]
    yield _PNG + b"".join(chunk for _, chunk in sound), HARMLESS
    bare = [(name, chunk) for name, chunk in chunks if not name[0] & 32 or name == b"tRNS"]
    had_profile = any(name == b"iCCP" for name, _ in chunks)
    yield _PNG + b"".join(chunk for _, chunk in bare), LOST_PROFILE if had_profile else HARMLESS


def _is_sound(chunk: bytes) -> bool:
    """Whether it holds pixels, or has the checksum that it says."""
    extra = bool(chunk[4] & 32) and chunk[4:8] != b"tRNS"
    return not extra or zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG, up to its first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill
            at += 1
            continue
        yield data[at + 1], at
        if data[at + 1] == SOS:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _patched(data: bytes, marker: int, offset: int, value: bytes) -> bytes | None:
    at = next((at for found, at in _segments(data) if found == marker), None)
    return None if at is None else data[: at + offset] + value + data[at + offset + len(value) :]


def _with_plain_scan(data: bytes) -> bytes | None:
    """A scan of a sequential frame with the only parameters that it can have: 0, 63, 0."""
    where = dict(_segments(data))
    if SOS not in where or where.keys().isdisjoint(_SEQUENTIAL):
        return None
    return _patched(data, SOS, 5 + 2 * data[where[SOS] + 4], b"\x00\x3f\x00")


def _without_filler(data: bytes, count: int, marker: int) -> bytes | None:
    """Without bytes that the decoder skipped, if they are filler and no lost part of a scan."""
    scan = dict(_segments(data)).get(SOS, 0)
    at = data.find(bytes([0xFF, marker]), scan if marker == _EOI else 2)
    skipped = data[at - count : at]
    filler = len(set(skipped)) == 1 or (skipped.isascii() and count >= 16)  # no bits of a scan
    if at < count or not filler or (marker != _EOI and scan and at > scan):
        return None
    return data[: at - count] + data[at:]


def _without_icc(data: bytes) -> bytes | None:
    """Without the segments of an ICC profile, of which some are missing or broken."""
    found = [
        at for marker, at in _segments(data) if marker == _APP2 and data[at + 4 : at + 7] == b"ICC"
    ]
    for at in reversed(found):
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data if found else None


def _is_one_scan(data: bytes) -> bool:
    """Whether all of the picture is in one scan: nothing else can be missing behind it."""
    where = dict(_segments(data))
    frame = next((at for marker, at in where.items() if marker in _SEQUENTIAL), None)
    scan = where.get(SOS)
    return frame is not None and scan is not None and data[scan + 4] == data[frame + 9]


def _has_every_bit(data: bytes) -> bool:
    """Whether the scans of a progressive frame go down to the last bit of every coefficient.

    Then none is missing behind them; whether the last one is whole its decoder says.
    """
    frame, least = b"", dict[tuple[int, int], int]()  # (component, coefficient): lowest bit so far
    for marker, segment in segments_of(data):
        if marker == _SOF2:
            frame = segment
        if marker != SOS or not segment or len(segment) < 4 + 2 * segment[0]:
            continue
        of, (first, last, bits) = segment[1 : 1 + 2 * segment[0] : 2], segment[-3:]
        least |= {(c, k): bits & 15 for c in of for k in range(first, min(last, 63) + 1)}
    components = frame[6 : 6 + 3 * frame[5] : 3] if len(frame) > 5 else b""
    wanted = [(c, k) for c in components for k in range(64)]
    return bool(wanted) and all(least.get(one) == 0 for one in wanted)
