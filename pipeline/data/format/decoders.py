"""One encoded image -> pixels, written in place; every decoder lets other threads run meanwhile."""

from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg

from pipeline.data.pixels import Pixels

__all__ = ["BLOCK", "DECODERS", "SUFFIXES"]

BLOCK = "block"
SUFFIXES = {BLOCK: ".u8", "webp": ".webp", "png": ".png", "jpeg": ".jpg"}
"""How the data member of a sample is called, by the encoding that the manifest names."""

cv2.setNumThreads(0)  # the reader has its own threads


def _opencv(data: memoryview, into: Pixels) -> None:
    """Decode a WebP or PNG into [C, R, R]; ValueError if it cannot be decoded."""
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # [R, R, BGR]
    except cv2.error as error:  # as for no bytes at all
        raise ValueError(str(error)) from error
    if found is None or found.shape[:2] != into.shape[1:]:
        raise ValueError(f"no image of {into.shape[1]}x{into.shape[2]} pixels")
    for c, plane in enumerate(into):
        cv2.extractChannel(found, 2 - c, plane)


def _jpeg(data: memoryview, into: Pixels) -> None:
    """Decode a JPEG into [C, R, R] with the one decoder that raises on every damaged file."""
    found = simplejpeg.decode_jpeg(bytes(data), colorspace="GRAY" if len(into) == 1 else "RGB")
    if found.shape[:2] != into.shape[1:]:
        raise ValueError(f"no image of {into.shape[1]}x{into.shape[2]} pixels")
    into[:] = found.transpose(2, 0, 1)


DECODERS: dict[str, Callable[[memoryview, Pixels], None]] = {
    "webp": _opencv,
    "png": _opencv,
    "jpeg": _jpeg,
}
