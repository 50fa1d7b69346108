"""Where a dataset lies: a folder, or an object store behind a local cache; pieces come checked.

    store = open_store("s3://bucket/faces", cache=Path("/local/cache"), cache_bytes=50 << 30)
    store.piece(Piece("r0064/000012.tar", 0, 2099200, "9f86d0..."))     a memoryview

A path and `file://` are folders. Other URLs go through fsspec: `s3://` is tested (against moto);
`gs://` and `az://` take the same way, with gcsfs or adlfs installed, and are not.
"""

import hashlib
import io
import mmap
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.storage.cache import Cache
from stylealae.errors import DataError

__all__ = ["PATIENCE_S", "DamageError", "Piece", "Store", "is_url", "local_path", "open_store"]

Where = str | Path

PATIENCE_S = 300.0
KNOWN = 1 << 16  # pieces whose hash is remembered as right
MEND = "delete it and run the same `stylealae prepare` again, which makes only this shard anew"


class DamageError(DataError):
    """Bytes that are not those that the manifest describes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of bytes of one file, and what they hash to."""

    name: str
    """The file's name in the dataset."""
    start: int
    """Its first byte."""
    stop: int
    """The byte after its last."""
    sha256: str
    """Hash of the range, hexadecimal."""
    what: str = "a piece"
    """What lies there, for messages."""


class Store(ABC):
    """The files of one dataset."""

    remote: bool
    """Whether reading ahead is worth the trouble."""
    mend: str
    """What to do about a damaged file."""

    def __init__(self, where: str) -> None:
        """Remember the place; nothing is read yet."""
        self.where = where
        self.leaving = threading.Event()
        """Set when waiting for a store that is out of order has no more use."""
        self._known: dict[Piece, None] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or `start` to `stop` of it; FileNotFoundError if there is none."""

    @abstractmethod
    def piece(self, piece: Piece, *, mapped: bool = False) -> memoryview:
        """The bytes of a piece, checked against its hash when it is first used.

        `mapped` may give the file itself instead of a copy; `guard` it before each use.
        """

    def guard(self, piece: Piece) -> None:  # noqa: B027 - only what is mapped can go
        """Raise DamageError if a piece that was given out mapped can no longer be read."""

    @abstractmethod
    def files(self) -> Mapping[str, int]:
        """Name and length of every file of the dataset."""

    def url(self, name: str) -> str:
        """Where a file lies, for messages."""
        return f"{self.where}/{name}"

    def damaged(self, name: str, what: str) -> DamageError:
        """The error that says what is wrong with a file, and what to do."""
        return DamageError(f"{self.url(name)} is damaged: {what}; {self.mend}")

    def _check(self, piece: Piece, data: memoryview) -> None:
        """Raise unless these are the piece's bytes; what was found right is not hashed again."""
        if piece not in self._known:
            self._verify(piece, data)

    def _verify(self, piece: Piece, data: memoryview) -> None:
        if hashlib.sha256(data).hexdigest() != piece.sha256:
            raise self.damaged(
                piece.name,
                f"{piece.what} (bytes {piece.start:,} to {piece.stop:,}) does not have the "
                f"manifest's sha256{_web_page(data)}",
            )
        with self._lock:
            if len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[piece] = None


@dataclass(frozen=True, slots=True)
class _Tar:
    """A file to read from."""

    file: io.FileIO
    map: mmap.mmap


class _Folder(Store):
    """A folder; its tars stay open."""

    remote, mend = False, MEND
    OPEN = 128  # tars at once; each holds two descriptors

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._tar = lru_cache(maxsize=self.OPEN)(self._opened)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        with open(self.url(name), "rb") as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)

    def piece(self, piece: Piece, *, mapped: bool = False) -> memoryview:
        tar, length = self._whole(piece), piece.stop - piece.start
        if mapped:
            data = memoryview(tar.map)[piece.start : piece.stop]
        else:
            data = memoryview(os.pread(tar.file.fileno(), length, piece.start))
            if len(data) < length:
                raise self._cut(piece, tar)
        self._check(piece, data)
        return data

    def guard(self, piece: Piece) -> None:
        self._whole(piece)

    def _whole(self, piece: Piece) -> _Tar:
        """The file that a piece lies in, which is long enough for it now.

        Whoever touches a map beyond the end of a file that was cut meanwhile is ended by SIGBUS. So
        the length is asked for at each use, which costs a microsecond.
        """
        try:
            tar = self._tar(piece.name)
        except (OSError, ValueError) as error:  # ValueError: an empty file
            reason = error.strerror if isinstance(error, OSError) else "it has 0 bytes"
            raise DamageError(
                f"{self.url(piece.name)} cannot be opened ({reason}), and the manifest lists it: "
                "run the same `stylealae prepare` again"
            ) from error
        if min(len(tar.map), tar.map.size()) < piece.stop:
            raise self._cut(piece, tar)
        return tar

    def _cut(self, piece: Piece, tar: _Tar) -> DamageError:
        length = min(len(tar.map), tar.map.size())
        head = memoryview(os.pread(tar.file.fileno(), 64, 0))
        return self.damaged(
            piece.name,
            f"it has {length:,} bytes, the manifest says {piece.stop:,}{_web_page(head)}",
        )

    def files(self) -> Mapping[str, int]:
        root = Path(self.where)
        return {
            path.relative_to(root).as_posix(): path.stat().st_size
            for path in root.rglob("*")
            if path.is_file()
        }

    def _opened(self, name: str) -> _Tar:
        file = io.FileIO(self.url(name))
        return _Tar(file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def is_url(where: Where) -> bool:
    """Whether this names a place by its protocol, `s3://...`, and not a path."""
    return "://" in str(where)


def local_path(where: Where) -> str:
    """A path, also of `file://`, or another URL, without a slash at the end."""
    return str(where).removeprefix("file://").rstrip("/") or "/"


def open_store(
    where: Where,
    *,
    cache: Path | None = None,
    cache_bytes: int = 0,
    patience_s: float = PATIENCE_S,
) -> Store:
    """The files at a path or URL; what lies in an object store is kept in `cache`, if given.

    An object store may be out of order for `patience_s` seconds before reading it fails.
    """
    place = local_path(where)
    if not is_url(place):
        return _Folder(place)
    from pipeline.storage.remote import Remote

    return Remote(place, Cache(cache, cache_bytes) if cache else None, patience_s)


def _web_page(data: memoryview) -> str:
    """A hint for those who saved an error page in place of a file."""
    head = bytes(data[:64]).lstrip()
    return ": it begins like a web page, not like a tar" if head[:1] == b"<" else ""
