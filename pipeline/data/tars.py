"""Where the members of a tar lie; a tar that is cut or names paths outside itself is refused.

webdataset and tarfile both take a tar that ends in the middle of a header for a whole one, so the
end mark is checked here. Nothing is ever extracted: members are read at their offsets.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stylealae.errors import DataError

__all__ = ["Member", "members"]


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file inside a tar."""

    name: str
    """Name as stored, always relative."""
    offset: int
    """Where its bytes begin in the tar."""
    size: int
    """Number of its bytes."""


def members(path: Path) -> list[Member]:
    """The regular files of an uncompressed tar, in order."""
    found: list[Member] = []
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as raw:
            for info in tar:
                parts = PurePosixPath(info.name)
                if parts.is_absolute() or ".." in parts.parts:
                    raise DataError(
                        f"{path} holds a member named {info.name!r}, a path outside the archive: "
                        "do not use it, or pack it anew"
                    )
                if info.isreg() and not info.issparse():
                    found.append(Member(info.name, info.offset_data, info.size))
            raw.seek(tar.offset)
            if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise DataError(
                    f"{path} is truncated: it ends after {len(found)} members without an end mark"
                )
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as an uncompressed tar: {error}") from error
    return found
