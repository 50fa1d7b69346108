"""What a run needs of the place where it lies, and a folder as that place."""

import hashlib
import json
import os
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

__all__ = [
    "MANIFEST",
    "Folder",
    "Gate",
    "Storage",
    "nothing",
    "published",
    "scratch_folder",
    "sha256_of",
    "write_manifest",
]

MANIFEST, FORMAT = "manifest.json", 1
Gate = Callable[[], None]


def nothing() -> None:
    """A gate that is always open."""


class Storage(ABC):
    """The files of one run; names are relative to it, with slashes."""

    remote: bool
    """Whether other hosts see what this one has written only through an upload."""

    def __init__(self, where: str, working: Path) -> None:
        """Remembers the place; nothing is read yet."""
        self.where = where
        self.working = working
        """A folder on this host: the run's own, or where its files pass through."""

    def at(self, name: str) -> str:
        """Where a file lies, for messages."""
        return f"{self.where}/{name}"

    @abstractmethod
    def names(self, below: str = "") -> list[str]:
        """What lies directly in a folder, files and folders, sorted; none if it is not there."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file; FileNotFoundError if there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """A file, in place of the one of this name: a reader finds one or the other."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """A file that was not there; False if it was, also when others try at the same time."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file, or a folder with what it holds, if it is there."""

    @abstractmethod
    def publishing(
        self, name: str, *, mark: str = "", gate: Gate = nothing
    ) -> AbstractContextManager[Path]:
        """A scratch folder that becomes `name`, with a manifest, only if the block succeeds.

        Args:
            name: the folder's name.
            mark: who writes, in the scratch folder's name; else this host and process.
            gate: called when all but the last move is done; if it raises, that is not made.
        """

    @abstractmethod
    def scraps(self, below: str) -> list[Path]:
        """Scratch folders on this host of what was being published below a folder."""

    @abstractmethod
    def verified(self, name: str) -> Path:
        """A folder on this host that holds the files of `name`, each with the manifest's hash.

        Raises:
            OSError: a file is not there or cannot be read.
            ValueError: a file has another hash, or the manifest is none.
        """

    def is_whole(self, name: str) -> bool:
        """Whether a folder was published, whatever became of its files since."""
        return MANIFEST in self.names(name)

    def _hashes(self, name: str) -> Mapping[str, str]:
        """What the manifest says of the files beside it."""
        try:
            manifest = json.loads(self.read(f"{name}/{MANIFEST}"))
            if manifest["format"] == FORMAT:
                hashes: Mapping[str, str] = manifest["sha256"]
                return hashes
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{MANIFEST} is torn ({type(error).__name__}: {error})") from error
        raise ValueError(f"format {manifest['format']}, this version reads {FORMAT}")


class Folder(Storage):
    """A folder, on a local disk or one that all hosts mount."""

    remote = False

    def __init__(self, where: str) -> None:
        super().__init__(where, Path(where))

    def names(self, below: str = "") -> list[str]:
        """What lies directly in a folder."""
        folder = self.working / below
        return sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []

    def read(self, name: str) -> bytes:
        """A file."""
        return (self.working / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """A file, written aside and renamed."""
        final = self.working / name
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = final.with_name(f".{final.name}.{os.getpid()}.partial")
        try:
            scratch.write_bytes(content)
            _sync(scratch)
            os.replace(scratch, final)
        finally:
            scratch.unlink(missing_ok=True)

    def create(self, name: str, content: bytes) -> bool:
        """A file that was not there, by O_EXCL."""
        final = self.working / name
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        _sync(final.parent)
        return True

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with what it holds."""
        path = self.working / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def publishing(self, name: str, *, mark: str = "", gate: Gate = nothing) -> Iterator[Path]:
        """A scratch folder that is renamed."""
        with published(self.working / name, mark=mark, gate=gate) as scratch:
            yield scratch
            write_manifest(scratch)

    def scraps(self, below: str) -> list[Path]:
        """Scratch folders beside."""
        return list((self.working / below).glob(".*.partial"))

    def verified(self, name: str) -> Path:
        """The folder itself, checked."""
        for file, wanted in self._hashes(name).items():
            if sha256_of(self.working / name / file) != wanted:
                raise ValueError(f"{file} does not have the hash in {MANIFEST}")
        return self.working / name


@contextmanager
def published(final: Path, *, mark: str = "", gate: Gate = nothing) -> Iterator[Path]:
    """A scratch folder that becomes `final`, synced to disk, only if the block succeeds."""
    with scratch_folder(final, mark) as scratch:
        yield scratch
        for file in scratch.iterdir():
            _sync(file)
        gate()
        if final.exists():
            os.replace(final, replaced := scratch.with_name(scratch.name + ".replaced.partial"))
            os.replace(scratch, final)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.replace(scratch, final)
    _sync(final.parent)


@contextmanager
def scratch_folder(final: Path, mark: str) -> Iterator[Path]:
    """A folder beside `final`, gone when the block ends unless it was renamed."""
    # Of this writer alone: the orphan of a killed driver may still be writing the same one.
    mark = mark or f"{socket.gethostname()}-{os.getpid()}"
    scratch = final.with_name(f".{final.name}.{mark}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_manifest(folder: Path, below: str = "") -> None:
    """Writes the hash of every file of a folder beside them, under the names `below` + theirs."""
    hashes = {below + f.name: sha256_of(f) for f in sorted(folder.iterdir())}
    text = json.dumps({"format": FORMAT, "sha256": hashes}, indent=2)
    (folder / MANIFEST).write_text(text)


def sha256_of(file: Path) -> str:
    """The hash of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
