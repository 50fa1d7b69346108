"""A dataset in the making: the place its files enter by, its claim, its recipe and its notes.

`.prepare/` holds the recipe (the input's fingerprint and the options) and a note for each finished
shard; both stay, so that the same command goes on, and another one is refused.
"""

import fcntl
import hashlib
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.storage.store import Where, is_url, local_path, open_store
from stylealae.errors import DataError

__all__ = [
    "NOTES",
    "RECIPE",
    "SCRATCH_BYTES",
    "Folder",
    "Place",
    "Scratch",
    "as_json",
    "open_place",
]

NOTES = ".prepare"
RECIPE = f"{NOTES}/recipe.json"
Scratch = io.BufferedRandom
SCRATCH_BYTES = 2 << 20  # written at a time


class Place(ABC):
    """Where a dataset is made; small, for it is pickled with every job."""

    def __init__(self, where: str) -> None:
        """Remember the place; nothing is touched yet."""
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        """Where it is: another process opens it again."""
        return type(self), (self.where,)

    @property
    @abstractmethod
    def room(self) -> str:
        """The folder that needs free space."""

    @abstractmethod
    def scratch(self, name: str) -> Scratch:
        """An empty local file, to make the file `name` in."""

    def hurry(self, file: Scratch) -> None:  # noqa: B027 - most places have nothing to hurry
        """Some of a scratch file is written: it may go where it is to last meanwhile."""

    @abstractmethod
    def publish(self, file: Scratch, name: str, sha256: str) -> None:
        """Put a finished file in its place, whole or not at all: every file enters here."""

    @abstractmethod
    def drop(self, file: Scratch) -> None:
        """Remove a scratch file; nothing happens to a published one."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file in its place; FileNotFoundError if it is not there."""

    @abstractmethod
    def files(self) -> Mapping[str, int]:
        """Name and length of every file in its place."""

    @abstractmethod
    def claimed(self, recipe: Mapping[str, str]) -> AbstractContextManager[None]:
        """Hold the place for this recipe alone; DataError if it holds anything else."""

    def heed(self, still: Callable[[], None]) -> None:  # noqa: B027 - most places never wait
        """Call this while waiting; it raises to end the wait."""

    def write(self, name: str, text: str) -> None:
        """Put a text in its place, unless it stands there already."""
        data = text.encode()
        with suppress(FileNotFoundError):
            if self.read(name) == data:
                return
        file = self.scratch(name)
        try:
            file.write(data)
            self.publish(file, name, hashlib.sha256(data).hexdigest())
        finally:
            self.drop(file)

    def refuse_other(self, before: Mapping[str, str], recipe: Mapping[str, str]) -> None:
        """Refuse another recipe than the one that the place was begun with."""
        changed = [
            f"{name} was {before.get(name, 'unset')!r} and is now {value!r}"
            for name, value in recipe.items()
            if before.get(name) != value
        ]
        if changed:
            raise DataError(
                f"{self.where} holds a dataset from another input or other options "
                f"({'; '.join(changed)}): choose another place, or remove this one"
            )

    def foreign(self) -> DataError:
        """The error for a place that holds something else than a dataset."""
        return DataError(
            f"{self.where} is not empty and holds no unfinished dataset: choose an empty folder"
        )


class Folder(Place):
    """A folder that one process at a time makes a dataset in: it holds a lock (flock)."""

    @property
    def room(self) -> str:
        """The folder itself."""
        return self.where

    def scratch(self, name: str) -> Scratch:
        """A file beside the final one, with a name that no other process has."""
        final = self._path(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f".{final.name}.{uuid4().hex[:12]}.partial")
        return io.BufferedRandom(io.FileIO(partial, "w+"), SCRATCH_BYTES)

    def hurry(self, file: Scratch) -> None:
        """The disk begins with what the system holds of it; `publish` waits for the rest alone."""
        if hasattr(os, "posix_fadvise"):  # starts to write, and keeps memory for what is read
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def publish(self, file: Scratch, name: str, sha256: str) -> None:
        """Bring it to the disk, and rename it."""
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(file.name, self._path(name))

    def drop(self, file: Scratch) -> None:
        """Remove what is unfinished."""
        if not file.closed:
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def read(self, name: str) -> bytes:
        """The file's content."""
        return self._path(name).read_bytes()

    def files(self) -> Mapping[str, int]:
        """What lies in the folder and below."""
        return open_store(self.where).files()

    @contextmanager
    def claimed(self, recipe: Mapping[str, str]) -> Iterator[None]:
        """Hold the folder for this process alone and for this recipe alone; sweep scraps out."""
        out = Path(self.where)
        notes = out / NOTES
        if out.is_dir() and any(out.iterdir()) and not notes.is_dir():
            raise self.foreign()
        notes.mkdir(parents=True, exist_ok=True)
        with (notes / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"another process is preparing {out}: let it finish first"
                ) from None
            known = self._path(RECIPE)
            before = json.loads(known.read_text()) if known.exists() else dict(recipe)
            self.refuse_other(before, recipe)
            self.write(RECIPE, as_json(before))
            for scrap in out.rglob(".*.partial"):
                scrap.unlink(missing_ok=True)
            yield

    def _path(self, name: str) -> Path:
        return Path(self.where, name)


def open_place(where: Where) -> Place:
    """The folder or the object store's prefix that `where` names."""
    place = local_path(where)
    if not is_url(place):
        return Folder(place)
    from pipeline.data.prepare.bucket import Bucket

    return Bucket(place)


def as_json(value: object) -> str:
    """The text of a JSON file, for people to read too."""
    return f"{json.dumps(value, indent=1)}\n"
