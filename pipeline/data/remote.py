"""A dataset in an object store: pieces are fetched by range, checked, and kept in the cache."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from pipeline.data.cache import Cache
from pipeline.data.patience import STALL_S, Objects, told
from pipeline.data.store import DamageError, Piece, Store
from stylealae.errors import DataError

__all__ = ["Remote"]

log = logging.getLogger(__name__)


class Remote(Store):
    """An object store, reached through fsspec."""

    remote, mend = True, "put the file from the folder it was prepared in there again"
    ATTEMPTS = 3  # at bytes that arrive and do not have the right hash

    def __init__(self, where: str, cache: Cache | None, patience_s: float) -> None:
        super().__init__(where)
        self._cache = cache
        self._objects = Objects(where, patience_s, "data.patience_s", DataError)
        self.leaving = self._objects.leaving
        self._bad: dict[Piece, DamageError] = {}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or a range of its bytes; FileNotFoundError if there is none."""
        part = {} if stop is None else {"start": start, "end": stop}
        timeout = STALL_S + ((stop or start) - start) / (1 << 20)

        def get() -> bytes:
            path = f"{self._objects.root}/{name}"
            return bytes(self._objects.call("cat_file", path, timeout=timeout, **part))

        return self._objects.patiently(name, get)

    def piece(self, piece: Piece) -> memoryview:
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
        at = self._objects
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
