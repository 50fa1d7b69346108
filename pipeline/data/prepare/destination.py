"""The output destination: where the files of a data set in the making enter, for one recipe alone.

`.prepare/` holds the recipe (the input's fingerprint and the options) and a note for each finished
shard; both stay, so that the same command goes on, and another one is refused.

A folder is made by one process at a time, which holds a lock (flock). An object store knows no lock
that a killed process lets go of, and none is needed: the recipe is created there only where there
is none, which the store itself decides; so two processes that work on the same prefix have the same
recipe and write the same bytes under the same names.
"""

import fcntl
import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast
from uuid import uuid4

from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.format.shard_list import ShardList, list_name
from pipeline.data.sources.left_aside import hidden
from pipeline.storage import Storage, Where, data_storage
from pipeline.storage.storage import Sleep
from stylealae.errors import DataError

__all__ = ["NOTES", "RECIPE", "REPORT", "Destination", "Scratch", "as_json", "open_destination"]

NOTES = ".prepare"
RECIPE = f"{NOTES}/recipe.json"
REPORT = "report.json"  # what became of every input, for people: nothing reads it
SCRATCH_BYTES = 2 << 20  # written at a time
LOCK_S, LOCK_POLL_S = 10.0, 0.1
Scratch = io.BufferedRandom


class Destination:
    """Where a data set is made."""

    def __init__(self, storage: Storage) -> None:
        """Remember the storage; nothing is touched yet."""
        self.storage = storage

    def __reduce__(self) -> tuple[Callable[[str], "Destination"], tuple[str]]:
        """Where it is, for it is pickled with every job: another process opens it again."""
        return open_destination, (self.storage.where,)

    def with_sleep(self, sleep: Sleep) -> "Destination":
        """The same destination for one caller, with a sleep of its own between retries."""
        return Destination(self.storage.with_sleep(sleep))

    @property
    def scratch_folder(self) -> str:
        """The folder of scratch files, which needs free space."""
        return tempfile.gettempdir() if self.storage.remote else self.storage.where

    def scratch(self, name: str) -> Scratch:
        """An empty local file, to make the file `name` in.

        For an object store it has no name, and is gone with its process, however that ends. In a
        folder it lies beside the final one, with a name that no other process has.
        """
        if self.storage.remote:
            return cast(Scratch, tempfile.TemporaryFile(buffering=SCRATCH_BYTES))
        final = self.storage.working / name
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f".{final.name}.{uuid4().hex[:12]}.partial")
        return io.BufferedRandom(io.FileIO(partial, "w+"), SCRATCH_BYTES)

    def write_back(self, file: Scratch) -> None:
        """Begin to bring a scratch file to the disk that it stays on; `publish` waits the rest."""
        if not self.storage.remote and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def publish(self, file: Scratch, name: str, sha256: str) -> None:
        """Move a finished file there, whole or not at all: every file enters here."""
        file.flush()
        path = f"/proc/self/fd/{file.fileno()}" if self.storage.remote else file.name
        self.storage.put(Path(path), name, sha256)
        file.close()

    def drop(self, file: Scratch) -> None:
        """Remove a scratch file; nothing happens to a published one."""
        if not file.closed:
            file.close()
            if not self.storage.remote:
                Path(file.name).unlink(missing_ok=True)

    def files(self) -> Mapping[str, int]:
        """Name and length of every file that is there."""
        try:
            return self.storage.sizes()
        except FileNotFoundError as error:
            raise DataError(
                f"{self.storage.where} cannot be listed ({error}): make the bucket first, or "
                "correct the URL"
            ) from error

    def write(self, name: str, text: str) -> None:
        """Write a text, unless it stands there already."""
        data = text.encode()
        with suppress(FileNotFoundError):
            if self.storage.read(name) == data:
                return
        file = self.scratch(name)
        try:
            file.write(data)
            self.publish(file, name, hashlib.sha256(data).hexdigest())
        finally:
            self.drop(file)

    def complete(self, manifest: Manifest, lists: Mapping[int, ShardList]) -> None:
        """Complete the data set: the lists, then the manifest; what is right is left."""
        for resolution, found in lists.items():
            self.write(list_name(resolution), found.text())
        self.write(MANIFEST, as_json(manifest.json()))

    def claimed(self, recipe: Mapping[str, str]) -> AbstractContextManager[None]:
        """Hold the destination for this recipe alone; DataError if it holds anything else."""
        return self._claimed_store(recipe) if self.storage.remote else self._claimed_folder(recipe)

    @contextmanager
    def _claimed_folder(self, recipe: Mapping[str, str]) -> Iterator[None]:
        """For this process alone, too; what a killed one left is swept out."""
        out = self.storage.working
        notes = out / NOTES
        if out.is_dir() and not notes.is_dir() and not all(hidden(p.name) for p in out.iterdir()):
            raise self._foreign()
        notes.mkdir(parents=True, exist_ok=True)
        with (notes / "lock").open("w") as lock:
            if not _held(lock):
                raise DataError(f"another process is preparing {out}: let it finish first")
            known = out / RECIPE
            before = json.loads(known.read_text()) if known.exists() else dict(recipe)
            self._refuse_other(before, recipe)
            self.write(RECIPE, as_json(before))
            for scrap in out.rglob(".*.partial"):
                scrap.unlink(missing_ok=True)
            yield

    @contextmanager
    def _claimed_store(self, recipe: Mapping[str, str]) -> Iterator[None]:
        """Or go on where another process with the same recipe stopped, or works still."""
        files = self.files()
        if RECIPE not in files and not all(
            hidden(name) or _is_folder(name, size) for name, size in files.items()
        ):
            raise self._foreign()
        if RECIPE not in files:
            self.storage.create(RECIPE, as_json(recipe).encode())
        self._refuse_other(json.loads(self.storage.read(RECIPE)), recipe)
        yield

    def _refuse_other(self, before: Mapping[str, str], recipe: Mapping[str, str]) -> None:
        """Refuse another recipe than the one that was begun with."""
        changed = [
            "the files or labels of the input are not what they were"
            if name == "fingerprint"
            else f"{name} was {before.get(name, 'unset')!r} and is now {value!r}"
            for name, value in recipe.items()
            if before.get(name) != value
        ]
        if changed:
            raise DataError(
                f"{self.storage.where} holds a dataset from another input or other options "
                f"({'; '.join(changed)}): choose another place, or remove this one"
            )

    def _foreign(self) -> DataError:
        """The error for a destination that holds something else than a data set."""
        return DataError(
            f"{self.storage.where} is not empty and holds no unfinished dataset: "
            "choose an empty folder"
        )


def _is_folder(name: str, size: int) -> bool:
    """Whether a key is what a store's console leaves where one makes a folder."""
    return size == 0 and (not name or name.endswith("/"))


def _held(lock: TextIO) -> bool:
    """Whether the lock was had in time: a run that finds its data set complete holds it shortly."""
    until = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(LOCK_POLL_S)


def open_destination(where: Where) -> Destination:
    """The folder or the object store's prefix that `where` names."""
    return Destination(data_storage(where))


def as_json(value: object) -> str:
    """The text of a JSON file, for people to read too."""
    return f"{json.dumps(value, indent=1)}\n"
