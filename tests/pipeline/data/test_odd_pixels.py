"""Pictures that a decoder would make something else of: TIFFs by their tags, hollow channels."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.decoding import decode, losses
from stylealae.errors import DataError

NO_TAGS: Mapping[int, tuple[int, ...]] = {}


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def tiff(pixels: NDArray[Any], tags: Mapping[int, tuple[int, ...]] = NO_TAGS) -> bytes:
    """A TIFF of [H, W, C] as its tags say it, which Pillow does not write of all kinds."""
    height, width, channels = pixels.shape
    whole = {
        256: (width,), 257: (height,), 258: (8 * pixels.itemsize,) * channels, 259: (1,),
        262: (2 if channels > 2 else 1,), 273: (0,), 277: (channels,), 278: (height,),
        279: (pixels.nbytes,),
        **tags,
    }  # fmt: skip
    end = 8 + 2 + 12 * len(whole) + 4
    entries, beyond = b"", b""
    at = end + sum(2 * len(values) for values in whole.values() if len(values) > 2)
    for tag, values in sorted(whole.items()):
        values = (at,) if tag == 273 else values
        kind, form = (4, "I") if tag in (273, 279) else (3, "H")
        data = struct.pack(f"<{len(values)}{form}", *values)
        if len(data) > 4:
            data, beyond = struct.pack("<I", end + len(beyond)), beyond + data
        entries += struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(whole))
    return head + entries + bytes(4) + beyond + pixels.tobytes()


DEEP = np.arange(64, dtype=np.uint16).reshape(8, 8, 1) * 1040


def test_a_tiff_of_16_bits_may_have_white_at_0() -> None:
    plain, _ = decode(tiff(DEEP, {}), 1)
    turned, _ = decode(tiff(65535 - DEEP, {262: (0,)}), 1)
    assert plain[0, 1, 0] == 4
    assert (plain == turned).all()


@pytest.mark.parametrize(
    ("pixels", "tags", "said"),
    [
        (np.zeros((8, 8, 3), np.uint8), {254: (1,)}, "a thumbnail of another one"),
        (DEEP // 2, {339: (2,)}, "signed numbers"),
        (np.zeros((8, 8, 1), np.uint8), {339: (2,)}, "signed numbers"),
        (np.zeros((8, 8, 3), np.uint16), {284: (2,)}, "one behind the other"),
    ],
)
def test_a_tiff_that_would_become_another_picture_is_refused(
    pixels: NDArray[Any], tags: dict[int, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        decode(tiff(pixels, tags), 3)


def test_channels_that_are_not_shown_are_said() -> None:
    _, changes = decode(tiff(np.zeros((8, 8, 5), np.uint8), {338: (0, 0)}), 3)
    assert changes == ("further channels left out",)


@pytest.mark.parametrize("shift", [0, 2, 6])
def test_bits_that_are_empty_are_said(shift: int) -> None:
    _, changes = decode(saved(Image.fromarray((DEEP >> shift)[:, :, 0]), "PNG"), 1)
    said = f"16 bits of which the upper {shift} are empty"
    assert (said in changes) == (shift > 0)


def png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of [H, W, C] with 16 bits, which Pillow does not write of colours."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = {b"IHDR": head, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )


@pytest.mark.parametrize("shift", [0, 1, 2, 4, 8])
@pytest.mark.parametrize(
    ("kind", "channels"),
    [(png, 2), (png, 3), (png, 4), (tiff, 3)],
    ids=["grey", "colour", "transparent", "TIFF"],
)
def test_bits_of_colours_that_are_empty_are_said(
    kind: Callable[[NDArray[Any]], bytes], channels: int, shift: int
) -> None:
    pixels = np.repeat(DEEP >> shift, channels, axis=2)
    if channels != 3:
        pixels[:, :, -1] = 65535
    _, changes = decode(kind(pixels), 3)
    assert changes[0] == "16 bits to 8"
    said = tuple(found for found in losses(changes) if "empty" in found)
    assert said == ((f"16 bits of which the upper {shift} are empty",) if shift > 1 else ())


def test_a_grey_of_16_bits_may_be_transparent() -> None:
    file = io.BytesIO()
    Image.fromarray(DEEP[:, :, 0]).save(file, "PNG", transparency=1040)
    image, changes = decode(file.getvalue(), 1)
    assert (image[0, :3, 0] == (0, 255, 8)).all()
    assert "transparency on white" in changes


@pytest.mark.parametrize(("kind", "shown"), [("TGA", True), ("PNG", False)])
def test_a_fourth_channel_that_nothing_was_written_into_is_no_transparency(
    kind: str, shown: bool
) -> None:
    pixels = np.full((8, 8, 4), 90, np.uint8)
    pixels[:, :, 3] = 0
    image, changes = decode(saved(Image.fromarray(pixels), kind), 3)
    assert (image == (90 if shown else 255)).all()
    assert changes == ("empty transparency left out" if shown else "transparency on white",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(128) + b"DICM" + bytes(99), "DICOM"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\x93NUMPY\1\0", "a NumPy array"),
    ],
)
def test_other_kinds_that_are_not_read_are_named(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode(data, 3)
