"""A folder, on a local disk or one that all hosts mount."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage.publish import (
    MANIFEST,
    Gate,
    nothing,
    published,
    regular,
    sha256_of,
    sync,
    write_manifest,
)
from pipeline.storage.storage import Storage

__all__ = ["VISIBLE_S", "LocalStorage"]

VISIBLE_S = 60.0
"""NFS may show other hosts a new file or folder so much later."""


class LocalStorage(Storage):
    """A folder: what is new is written aside, brought to the disk and renamed."""

    remote = False

    def __init__(self, where: str) -> None:
        super().__init__(where, Path(where))

    def names(self, below: str = "") -> list[str]:
        """What lies directly in a folder."""
        folder = self.working / below
        return sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []

    def sizes(self, below: str = "") -> Mapping[str, int]:
        """Name and length of every file in a folder and below it."""
        return {
            path.relative_to(self.working).as_posix(): path.stat().st_size
            for path in (self.working / below).rglob("*")
            if path.is_file()
        }

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or `start` to `stop` of it."""
        with regular(self.working / name) as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)

    def write(self, name: str, content: bytes) -> None:
        """A small file."""
        final = self.working / name
        final.parent.mkdir(parents=True, exist_ok=True)
        with _beside(final) as scratch:
            scratch.write_bytes(content)
            sync(scratch)
            os.replace(scratch, final)

    def create(self, name: str, content: bytes) -> bool:
        """A file that was not there, by O_EXCL."""
        final = self.working / name
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        sync(final.parent)
        return True

    def put(self, file: Path, name: str, sha256: str) -> None:
        """A file of the same disk, renamed; the disk is trusted to hold what it was given."""
        sync(file)
        os.replace(file, self.working / name)

    def send(self, file: Path, name: str) -> None:
        """A copy."""
        final = self.working / name
        final.parent.mkdir(parents=True, exist_ok=True)
        with _beside(final) as scratch:
            shutil.copyfile(file, scratch)
            os.replace(scratch, final)

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with what it holds."""
        path = self.working / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def publish(self, name: str, *, mark: str = "", gate: Gate = nothing) -> Iterator[Path]:
        """A scratch folder that is renamed."""
        with published(self.working / name, mark=mark, gate=gate) as scratch:
            yield scratch
            write_manifest(scratch)

    def scraps(self, below: str) -> list[Path]:
        """Scratch folders beside."""
        return list((self.working / below).glob(".*.partial"))

    def verified(self, name: str, *, replacing: str = "") -> Path:
        """The folder itself, checked."""
        for file, wanted in self.hashes(name).items():
            if sha256_of(self.working / name / file) != wanted:
                raise ValueError(f"{file} does not have the hash in {MANIFEST}")
        return self.working / name


@contextmanager
def _beside(final: Path) -> Iterator[Path]:
    """A file of this process beside another, gone when the block ends unless it was renamed."""
    scratch = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)
