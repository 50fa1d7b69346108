"""Pieces of remote files on a local disk, bounded, shared by all processes of a host.

A piece is a file named by its key. It is written aside and renamed, so a reader finds the whole of
it or nothing; a reader holds a map of it, which outlives the file's removal. What is used stands in
`.used`, changed under a lock of the file system (flock), which a killed process lets go of.
Fsspec's own caches bound no size on disk, share no lock between processes and check no hash.
"""

import fcntl
import logging
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from pipeline.storage.disk import is_full
from pipeline.storage.storage import Sleep
from stylealae.errors import DataError

__all__ = ["Cache"]

log = logging.getLogger(__name__)

LOCKS, USED = ".locks", ".used"
KEEP = 7 / 8
"""Share of the limit that is kept when something has to go."""
TURN_S = 0.02
"""From one look at whether a piece is still being fetched to the next."""


class Cache:
    """At most `limit` bytes of pieces in `folder`; those unused for the longest time go first."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Open or make the folder, and see what it holds."""
        self._folder, self.limit, self._warned = folder, limit, False
        try:
            (folder / LOCKS).mkdir(parents=True, exist_ok=True)
            with _locked(folder / USED) as used:
                _rewrite(used, self._trimmed(limit))
        except OSError as error:
            raise DataError(
                f"data.cache is {folder}, which cannot be used ({error.strerror}): name a folder "
                "on a local disk with free space"
            ) from error

    def get(self, key: str) -> memoryview | None:
        """The piece, or None if it is not here; it stays readable when it is removed meanwhile."""
        try:
            with (self._folder / key).open("rb") as file:
                os.utime(file.fileno())
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # ValueError: an empty file
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep a piece, removing others for it; a full disk costs the copy and no more."""
        try:
            self._write(key, data)
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning(
                    "the cache %s takes no more (%s), so images are fetched again each time: make "
                    "room there, or set data.cache or data.cache_gib",
                    *(self._folder, error.strerror),
                )
            if is_full(error):  # it takes more once something has gone
                with suppress(OSError), _locked(self._folder / USED) as file:
                    _rewrite(file, self._trimmed(self._size() // 2))

    def drop(self, key: str) -> None:
        """Remove a piece that is damaged."""
        (self._folder / key).unlink(missing_ok=True)

    @contextmanager
    def claimed(self, key: str, sleep: Sleep = time.sleep) -> Iterator[None]:
        """While one thread of one process fetches a piece, the others wait here for it.

        By short sleeps: who holds it may wait for hours for a store that is down, and who waits for
        him may be told to stop, by what `sleep` raises.  Where no lock can be had, nobody waits.
        """
        with self._lock_of(key) as file:
            while file and not _taken(file):
                sleep(TURN_S)
            yield

    def _lock_of(self, key: str) -> AbstractContextManager[IO[str] | None]:
        """The file by which a piece is claimed, in a folder that people may have cleaned."""
        path = self._folder / LOCKS / key[:2]
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("a")
        return nullcontext()

    def _write(self, key: str, data: bytes) -> None:
        if len(data) > self.limit:
            return
        partial = self._folder / f".{key}.partial"
        with _locked(self._folder / USED) as file:  # one writer at a time, so the limit is exact
            text = file.read()
            used = int(text) if text.isdecimal() else self._size()
            if used + len(data) > self.limit:
                used = self._trimmed(int(KEEP * self.limit) - len(data))
            try:
                partial.write_bytes(data)
                os.replace(partial, self._folder / key)
            finally:
                partial.unlink(missing_ok=True)
            _rewrite(file, used + len(data))

    def _pieces(self) -> list[tuple[float, int, str]]:
        """Last use, size and path of every piece, the longest unused first."""
        found = []
        for entry in os.scandir(self._folder):
            try:
                if entry.name != USED and entry.is_file():
                    about = entry.stat()
                    found.append((about.st_mtime, about.st_size, entry.path))
            except FileNotFoundError:  # renamed or removed meanwhile
                continue
        return sorted(found)

    def _size(self) -> int:
        return sum(size for _, size, _ in self._pieces())

    def _trimmed(self, keep: int) -> int:
        """Remove pieces until no more than `keep` bytes are left; gives back what is left."""
        pieces = self._pieces()
        left = sum(size for _, size, _ in pieces)
        for _, size, path in pieces:
            if left <= keep:
                break
            Path(path).unlink(missing_ok=True)
            left -= size
        return left


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """The file, opened for this thread of this process alone."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file


def _taken(file: IO[str]) -> bool:
    """Whether the file is this thread's from now on; else it is another's."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rewrite(file: IO[str], number: int) -> None:
    file.seek(0)
    file.truncate()
    file.write(str(number))
    file.flush()
