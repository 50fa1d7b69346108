"""The hash by which a file is told from any other: weights, a feature extractor."""

import hashlib
from pathlib import Path

__all__ = ["sha256_of"]


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
