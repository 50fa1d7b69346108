"""A dataset in an object store: pieces are fetched by range, checked, and kept in the cache."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pipeline.storage.cache import Cache
from pipeline.storage.retry import STALL_S, Objects, told
from pipeline.storage.store import DamageError, Piece, Store
from stylealae.errors import DataError

__all__ = ["Remote"]

log = logging.getLogger(__name__)


class Remote(Store):
    """An object store, reached through fsspec."""

    remote, mend = True, "put the file from the folder it was prepared in there again"
    ATTEMPTS = 3  # at bytes that arrive and do not have the right hash
    CHECKED_BYTES = 16 << 20  # of an upload, read back at a time

    def __init__(self, where: str, cache: Cache | None, patience_s: float) -> None:
        super().__init__(where)
        self._cache = cache
        self.objects = Objects(where, patience_s, "data.patience_s", DataError)
        self.leaving = self.objects.leaving
        self._bad: dict[Piece, DamageError] = {}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or a range of its bytes; FileNotFoundError if there is none."""
        part = {} if stop is None else {"start": start, "end": stop}
        timeout = STALL_S + ((stop or start) - start) / (1 << 20)

        def get() -> bytes:
            path = f"{self.objects.root}/{name}"
            return bytes(self.objects.call("cat_file", path, timeout=timeout, **part))

        return self.objects.patiently(name, get)

    def put(self, name: str, path: str, length: int, sha256: str) -> None:
        """Upload a local file of this length and hash, in place of what is there."""
        timeout = STALL_S + length / (1 << 20)
        target = f"{self.objects.root}/{name}"
        for _ in range(self.ATTEMPTS):
            self._send(name, lambda: self.objects.call("put_file", path, target, timeout=timeout))
            if (found := self._hash(name, length)) == sha256:
                return
            log.warning("%s did not arrive as it was sent: it is sent again", self.url(name))
        raise DataError(
            f"{self.url(name)} holds {found or 'another length'} after {self.ATTEMPTS} "
            f"uploads, sent was {sha256}: look after the store and whoever else writes there, then "
            "run the same command again"
        )

    def create(self, name: str, content: bytes) -> None:
        """Write a small file unless there is one; of many that do so at once, one succeeds."""
        path = f"{self.objects.root}/{name}"

        def make() -> None:
            with suppress(FileExistsError):
                self.objects.call("pipe_file", path, content, mode="create")

        self._send(name, make)

    def piece(self, piece: Piece, *, mapped: bool = False) -> memoryview:
        """The bytes of a piece, from the cache or else from the store, checked."""
        if self._cache is None:
            return memoryview(self._fetched(piece))
        address = f"{self.url(piece.name)}#{piece.start}-{piece.stop}#{piece.sha256}"
        key = hashlib.sha256(address.encode()).hexdigest()
        if (held := self._held(self._cache, key, piece)) is not None:
            return held
        with self._cache.claimed(key):
            if (held := self._held(self._cache, key, piece)) is not None:
                return held  # another thread or process has fetched it meanwhile
            data = self._fetched(piece)
            self._cache.put(key, data)
        return self._cache.get(key) or memoryview(data)

    def files(self) -> Mapping[str, int]:
        """Name and length of every file of the dataset."""
        at = self.objects
        found: dict[str, dict[str, Any]] = at.patiently(
            "", lambda: at.call("find", at.root, detail=True, timeout=10 * STALL_S)
        )
        return {
            path.removeprefix(at.root).lstrip("/"): int(about["size"])
            for path, about in found.items()
        }

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
        if piece in self._bad:
            raise self._bad[piece]
        for last in (*[False] * (self.ATTEMPTS - 1), True):
            try:
                data = self.read(piece.name, piece.start, piece.stop)
                self._verify(piece, memoryview(data))
                return data
            except FileNotFoundError:
                raise DamageError(
                    f"{self.url(piece.name)} is missing, and the manifest lists it: {self.mend}"
                ) from None
            except OSError as error:
                raise self.damaged(
                    piece.name, f"{piece.what} cannot be read ({told(error)})"
                ) from error
            except DamageError as error:
                if last:
                    self._bad[piece] = error
                    raise
                log.warning("%s. It is fetched again", error)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, name: str, call: Callable[[], None]) -> None:
        try:
            self.objects.patiently(name, call, does="written")
        except FileNotFoundError as error:
            raise DataError(
                f"{self.url(name)} cannot be written ({told(error)}): make the bucket first, or "
                "correct the URL"
            ) from error

    def _hash(self, name: str, length: int) -> str:
        """SHA-256 of a file as the store gives it back; empty if it has another length."""
        digest, path = hashlib.sha256(), f"{self.objects.root}/{name}"
        about = self.objects.patiently(name, lambda: self.objects.call("info", path))
        if about["size"] != length:
            return ""
        for start in range(0, length, self.CHECKED_BYTES):
            digest.update(self.read(name, start, min(start + self.CHECKED_BYTES, length)))
        return digest.hexdigest()
