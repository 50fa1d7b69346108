"""A dataset in an object store: pieces are fetched by range, checked, and kept in the cache.

An answer of 5xx, a reset or a stall is met with patience: the same request again, after growing
pauses, for as long as the run allows; the first failure and the recovery are logged. What is
uploaded is read back before it counts.
"""

import errno
import hashlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import sync

from pipeline.data.cache import Cache
from pipeline.data.store import DamageError, Piece, Store
from stylealae.errors import DataError

__all__ = ["Remote"]

log = logging.getLogger(__name__)

T = TypeVar("T")

STALL_S = 30.0  # without an answer for so long, and a second more a MiB, a read is given up
OPTIONS: dict[str, dict[str, Any]] = {
    # Retries are ours, so that they are told and bounded: botocore's are turned off.
    "s3": {
        "use_listings_cache": False,
        "max_concurrency": 4,  # parts of 50 MiB of one upload, all in memory
        "config_kwargs": {
            "max_pool_connections": 32,
            "connect_timeout": 10,
            "read_timeout": 20,
            "retries": {"total_max_attempts": 1},
        },
    }
}


class Remote(Store):
    """An object store, reached through fsspec."""

    remote, mend = True, "put the file from the folder it was prepared in there again"
    ATTEMPTS = 3  # at bytes that arrive and do not have the right hash
    CHECKED_BYTES = 16 << 20  # of an upload, read back at a time

    def __init__(self, where: str, cache: Cache | None, patience_s: float) -> None:
        super().__init__(where)
        self._cache, self._patience_s = cache, patience_s
        self._fs, self._root = _filesystem(where)
        self._failing = False
        self.still: Callable[[], None] = lambda: None
        """Called between attempts; it raises to give up."""
        self._bad: dict[Piece, DamageError] = {}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or a range of its bytes; FileNotFoundError if there is none."""
        part = {} if stop is None else {"start": start, "end": stop}
        timeout = STALL_S + ((stop or start) - start) / (1 << 20)

        def get() -> bytes:
            return bytes(self._call("cat_file", f"{self._root}/{name}", timeout=timeout, **part))

        return self._patiently(name, get)

    def put(self, name: str, path: str, length: int, sha256: str) -> None:
        """Upload a local file of this length and hash, in place of what is there."""
        timeout = STALL_S + length / (1 << 20)
        target = f"{self._root}/{name}"
        for _ in range(self.ATTEMPTS):
            self._send(name, lambda: self._call("put_file", path, target, timeout=timeout))
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

        def make() -> None:
            with suppress(FileExistsError):
                self._call(
                    "pipe_file", f"{self._root}/{name}", content, mode="create", timeout=STALL_S
                )

        self._send(name, make)

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
        found: dict[str, dict[str, Any]] = self._patiently(
            "", lambda: self._call("find", self._root, detail=True, timeout=10 * STALL_S)
        )
        return {
            path.removeprefix(self._root).lstrip("/"): int(about["size"])
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
                    piece.name, f"{piece.what} cannot be read ({_told(error)})"
                ) from error
            except DamageError as error:
                if last:
                    self._bad[piece] = error
                    raise
                log.warning("%s. It is fetched again", error)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, name: str, call: Callable[[], None]) -> None:
        try:
            self._patiently(name, call, "written")
        except FileNotFoundError as error:
            raise DataError(
                f"{self.url(name)} cannot be written ({_told(error)}): make the bucket first, or "
                "correct the URL"
            ) from error

    def _hash(self, name: str, length: int) -> str:
        """SHA-256 of a file as the store gives it back; empty if it has another length."""
        digest = hashlib.sha256()
        about = self._patiently(
            name, lambda: self._call("info", f"{self._root}/{name}", timeout=STALL_S)
        )
        if about["size"] != length:
            return ""
        for start in range(0, length, self.CHECKED_BYTES):
            digest.update(self.read(name, start, min(start + self.CHECKED_BYTES, length)))
        return digest.hexdigest()

    def _call(self, method: str, *args: Any, timeout: float, **options: Any) -> Any:
        """A method of the file system, given up after `timeout` seconds where that can be done."""
        if not self._fs.async_impl:
            return getattr(self._fs, method)(*args, **options)
        work = getattr(self._fs, f"_{method}")
        return sync(self._fs.loop, work, *args, timeout=timeout, **options)

    def _patiently(self, name: str, call: Callable[[], T], what: str = "read") -> T:
        """What `call` gives back, tried again with growing pauses while the store is failing."""
        since, pause = time.monotonic(), 0.25
        while True:
            try:
                found = call()
            except FileNotFoundError:
                raise
            except Exception as error:  # whatever the libraries below raise
                if getattr(error, "errno", 0) == errno.EINVAL:  # as for a range beyond the end
                    raise
                waited = time.monotonic() - since
                if _hopeless(error) or waited > self._patience_s or self.leaving.is_set():
                    raise DataError(
                        f"{self.url(name)} cannot be {what} ({_told(error)}), tried for "
                        f"{waited:.0f} s: look after the store, the network and the credentials, "
                        "or raise data.patience_s; the same command goes on from here"
                    ) from error
                if not self._failing:
                    self._failing = True
                    log.warning(
                        "%s does not answer (%s): trying again for up to %.0f s",
                        *(self.where, _told(error), self._patience_s),
                    )
                self.still()
                self.leaving.wait(pause * random.uniform(0.5, 1.0))  # ranks: not in step
                pause = min(2 * pause, 10.0)
                continue
            if self._failing:
                self._failing = False
                log.warning("%s answers again", self.where)
            return found


def _filesystem(where: str) -> tuple[Any, str]:
    """Fsspec's file system for a URL, and the path in it."""
    protocol = where.partition("://")[0]
    try:
        fs, path = fsspec.core.url_to_fs(where, **OPTIONS.get(protocol, {}))
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{where} cannot be opened ({error}): install what reads {protocol}:// "
            "(s3fs, gcsfs or adlfs), or correct data.path"
        ) from error
    if hasattr(fs, "retries"):
        fs.retries = 1
    return fs, path.rstrip("/")


def _hopeless(error: Exception) -> bool:
    """Whether trying again cannot help: no or wrong credentials, or a library that is too old."""
    never = PermissionError, TypeError, NotImplementedError
    return isinstance(error, never) or "redential" in type(error).__name__


def _told(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
