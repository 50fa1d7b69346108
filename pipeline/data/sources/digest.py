"""The digest by which a changed file is noticed, without reading all of a large one."""

import hashlib
import os

__all__ = ["digest_of"]

WHOLE = 256 << 10
"""A file of so many bytes is read as a whole."""
STEP, WINDOW = 1 << 20, 16 << 10
"""Of a larger one, so many bytes in each of these steps, and the last ones."""


def digest_of(file: int, offset: int, size: int) -> bytes:
    """Of `size` bytes of an open file from `offset` on: all of them, or windows all over them.

    An image that is saved anew differs nearly everywhere, and its last bytes hold what depends on
    all before them: a PNG's checksum, the end of a JPEG's bits.
    """
    found = hashlib.sha256(size.to_bytes(8, "big"))
    if size <= WHOLE:
        found.update(os.pread(file, size, offset))
        return found.digest()
    for at in (*range(0, size - WINDOW, STEP), size - WINDOW):
        found.update(os.pread(file, WINDOW, offset + at))
    return found.digest()
