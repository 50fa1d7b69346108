"""Byte ranges of the files of a data set, each checked against its hash when it is first used.

    pieces = open_pieces(storage, Cache(Path("/local/cache"), 50 << 30))
    pieces.get(Piece("r0064/000012.tar", 0, 2099200, "9f86d0..."))      a memoryview

Those of a folder are read where they lie; those of an object store are fetched by range and kept
in the cache, if there is one.
"""

import copy
import hashlib
import logging
import mmap
import os
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Self

from pipeline.storage.cache import Cache
from pipeline.storage.publish import regular
from pipeline.storage.storage import Sleep, Storage
from stylealae.errors import DataError

__all__ = ["DamageError", "Piece", "Pieces", "open_pieces"]

log = logging.getLogger(__name__)

REMEMBERED = 1 << 16  # pieces whose hash is remembered as right


class DamageError(DataError):
    """Bytes that are not those that the manifest describes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of bytes of one file, and what they hash to."""

    name: str
    """The file's name in the data set."""
    start: int
    """Its first byte."""
    stop: int
    """The byte after its last."""
    sha256: str
    """Hash of the range, hexadecimal."""
    what: str = "a piece"
    """What lies there, for messages."""


class Pieces(ABC):
    """The pieces of one storage."""

    mend: str
    """What to do about a damaged file."""

    def __init__(self, storage: Storage) -> None:
        """Remember the storage; nothing is read yet."""
        self.storage = storage
        self._verified: dict[Piece, None] = {}
        self._lock = threading.Lock()
        self._sleep: Sleep = time.sleep

    def with_sleep(self, sleep: Sleep) -> Self:
        """The same pieces for one caller, with a sleep of its own between retries."""
        other = copy.copy(self)
        other.storage, other._sleep = self.storage.with_sleep(sleep), sleep
        return other

    @property
    def kept_bytes(self) -> int:
        """How much of what is fetched ahead is still near when it is asked for; 0 is nothing."""
        return 0

    @abstractmethod
    def get(self, piece: Piece, *, mapped: bool = False) -> memoryview:
        """The bytes of a piece, checked against its hash when it is first used.

        `mapped` may give the file itself instead of a copy; `guard` it before each use.
        """

    def guard(self, piece: Piece) -> None:  # noqa: B027 - only what is mapped can go
        """Raise DamageError if a piece that was given out mapped can no longer be read."""

    def damaged(self, name: str, what: str) -> DamageError:
        """The error that says what is wrong with a file, and what to do."""
        return DamageError(f"{self.storage.at(name)} is damaged: {what}; {self.mend}")

    def _check(self, piece: Piece, data: memoryview) -> None:
        """Raise unless these are the piece's bytes; what was found right is not hashed again."""
        if piece not in self._verified:
            self._verify(piece, data)

    def _verify(self, piece: Piece, data: memoryview) -> None:
        if hashlib.sha256(data).hexdigest() != piece.sha256:
            raise self.damaged(
                piece.name,
                f"{piece.what} (bytes {piece.start:,} to {piece.stop:,}) does not have the "
                f"manifest's sha256{_web_page(data)}",
            )
        with self._lock:
            if len(self._verified) >= REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[piece] = None


def open_pieces(storage: Storage, cache: Cache | None = None) -> Pieces:
    """The pieces of a storage; what lies in an object store is kept in the cache, if given."""
    return _FetchedPieces(storage, cache) if storage.remote else _MappedPieces(storage)


class _FetchedPieces(Pieces):
    """Pieces of an object store, fetched by range."""

    mend = "put the file from the folder it was prepared in there again"
    ATTEMPTS = 3  # at bytes that arrive and do not have the right hash

    def __init__(self, storage: Storage, cache: Cache | None) -> None:
        super().__init__(storage)
        self._cache = cache
        self._bad: dict[Piece, str] = {}

    @property
    def kept_bytes(self) -> int:
        return self._cache.limit if self._cache else 0

    def get(self, piece: Piece, *, mapped: bool = False) -> memoryview:
        if self._cache is None:
            return memoryview(self._fetched(piece))
        address = f"{self.storage.at(piece.name)}#{piece.start}-{piece.stop}#{piece.sha256}"
        key = hashlib.sha256(address.encode()).hexdigest()
        if (held := self._held(self._cache, key, piece)) is not None:
            return held
        with self._cache.claimed(key, self._sleep):
            if (held := self._held(self._cache, key, piece)) is not None:
                return held  # another thread or process has fetched it meanwhile
            data = self._fetched(piece)
            self._cache.put(key, data)
        return self._cache.get(key) or memoryview(data)

    def _held(self, cache: Cache, key: str, piece: Piece) -> memoryview | None:
        """The piece from the cache, if it is there and intact."""
        data = cache.get(key)
        if data is None:
            return None
        try:
            self._check(piece, data)
        except DamageError:
            log.warning("a cached copy of %s is damaged: it is fetched again", piece.name)
            cache.drop(key)
            return None
        return data

    def _fetched(self, piece: Piece) -> bytes:
        """The piece from the store; what never arrives intact is not asked for again."""
        if piece in self._bad:
            raise DamageError(self._bad[piece])  # one kept would keep what each caller holds
        attempt = 0
        while True:
            attempt += 1
            data = self._read(piece)
            try:
                self._verify(piece, memoryview(data))
                return data
            except DamageError as error:
                if attempt == self.ATTEMPTS:
                    self._bad[piece] = str(error)
                    raise
                log.warning("%s. It is fetched again", error)

    def _read(self, piece: Piece) -> bytes:
        try:
            return self.storage.read(piece.name, piece.start, piece.stop)
        except FileNotFoundError:
            raise DamageError(
                f"{self.storage.at(piece.name)} is missing, and the manifest lists it: {self.mend}"
            ) from None
        except OSError as error:
            what = f"{type(error).__name__}: {error}"
            raise self.damaged(piece.name, f"{piece.what} cannot be read ({what})") from error


@dataclass(frozen=True, slots=True)
class _Tar:
    """A file to read from."""

    file: BinaryIO
    map: mmap.mmap


class _MappedPieces(Pieces):
    """Pieces of a folder; its tars stay open."""

    mend = "delete it and run the same `stylealae prepare` again, which makes only this shard anew"
    OPEN = 128  # tars at once; each holds two descriptors

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._tar = lru_cache(maxsize=self.OPEN)(self._opened)

    def get(self, piece: Piece, *, mapped: bool = False) -> memoryview:
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
                f"{self.storage.at(piece.name)} cannot be opened ({reason}), and the manifest "
                "lists it: run the same `stylealae prepare` again"
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

    def _opened(self, name: str) -> _Tar:
        file = regular(Path(self.storage.at(name)))
        return _Tar(file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _web_page(data: memoryview) -> str:
    """A hint for those who saved an error page in place of a file."""
    head = bytes(data[:64]).lstrip()
    return ": it begins like a web page, not like a tar" if head[:1] == b"<" else ""
