"""Where the members of a tar lie; a tar that is cut or names paths outside itself is refused.

webdataset and tarfile both take a tar that ends in the middle of a header for a whole one, so the
end mark is checked here. Nothing is ever extracted: members are read at their offsets.
"""

import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline.storage.publish import regular
from stylealae.errors import DataError

__all__ = ["Member", "is_tar", "members", "members_in", "resolved"]

PADDING = 64 << 20
"""Zeros after an end mark, behind which another tar is looked for; programs write 10 KB."""
_WINDOW = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file inside a tar."""

    name: str
    """Name as stored, always relative."""
    offset: int
    """Where its bytes begin in the tar."""
    size: int
    """Number of its bytes."""
    link: str | None = None
    """What a link leads to, as a name in the tar; empty for a device or a sparse file, None for a
    regular file."""


def is_tar(path: Path) -> bool:
    """Whether a file says at its beginning that it is an uncompressed tar, as all do since 1988."""
    with regular(path) as raw:
        raw.seek(257)
        return raw.read(5) == b"ustar"


def members(path: Path) -> list[Member]:
    """All of an uncompressed tar but its folders, in order, also of tars one after the other."""
    found: list[Member] = []
    try:
        with regular(path) as raw:
            at, more = 0, True
            while more:
                with tarfile.open(fileobj=raw, mode="r:") as tar:
                    found += (_member(path, info) for info in tar if not info.isdir())
                if tar.offset == at > 0:
                    raise DataError(
                        f"{path} holds bytes behind its end mark that are no tar: pack it anew"
                    )
                raw.seek(tar.offset)
                if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise DataError(
                        f"{path} is truncated: it ends after {len(found)} members without an end "
                        "mark"
                    )
                more = _goes_on(raw)
                at = raw.tell()
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as an uncompressed tar: {error}") from error
    return found


def _member(path: Path, info: tarfile.TarInfo) -> Member:
    if info.size < 0:  # what follows would be this very header again, without an end
        raise DataError(
            f"{path} holds a member {info.name!r} of {info.size:,} bytes: it is damaged, fetch it "
            "again"
        )
    if _leads_outside(info.name):
        raise DataError(
            f"{path} holds a member named {info.name!r}, a path outside the archive: do not use "
            "it, or pack it anew"
        )
    if info.isreg() and not info.issparse():
        return Member(info.name, info.offset_data, info.size)
    return Member(info.name, 0, 0, _target(info))


def _goes_on(raw: BinaryIO) -> bool:
    """Whether anything but zeros follows, as where tars were put together; then `raw` is there."""
    for _ in range(PADDING // _WINDOW):
        at = raw.tell()
        window = raw.read(_WINDOW)
        rest = window.lstrip(b"\0")
        if rest:
            skipped = len(window) - len(rest)
            raw.seek(at + skipped - skipped % tarfile.BLOCKSIZE)
            return True
        if len(window) < _WINDOW:
            return False
    return False


def resolved(member: Member, files: Mapping[str, Member]) -> Member | None:
    """The member, or a link as the file of `files` that it leads to; None if that is none."""
    met = {member.name}
    found = member
    while found.link is not None:
        if found.link in met or found.link not in files:
            return None
        met.add(found.link)
        found = files[found.link]
    return Member(member.name, found.offset, found.size)


def members_in(data: memoryview) -> Iterator[Member]:
    """The members that lie end to end in a part of one of our tars, up to its end or end mark.

    Raises:
        ValueError: what is there is no header, no regular file, or longer than the part.
    """
    at = 0
    while at < len(data):
        header = bytes(data[at : at + tarfile.BLOCKSIZE])
        if not any(header):
            return
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.TarError, UnicodeDecodeError) as error:
            raise ValueError(f"no header of a member at byte {at:,} ({error})") from error
        if _leads_outside(info.name) or not info.isreg():
            raise ValueError(
                f"a member named {info.name!r}, which is a path outside the archive or no file"
            )
        at += tarfile.BLOCKSIZE
        if not 0 <= info.size <= len(data) - at:
            raise ValueError(
                f"{info.name} is of {info.size:,} bytes, and {len(data) - at:,} are there"
            )
        yield Member(info.name, at, info.size)
        at += info.size + -info.size % tarfile.BLOCKSIZE


def _target(info: tarfile.TarInfo) -> str:
    """Where a link leads: a symbolic one from its own folder, a hard one from the top."""
    if info.islnk():
        return posixpath.normpath(info.linkname)
    if not info.issym():
        return ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(info.name), info.linkname))


def _leads_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts
