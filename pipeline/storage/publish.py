"""Folders that appear whole or not at all, with a manifest of the hashes of their files."""

import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

__all__ = ["FORMAT", "MANIFEST", "Gate", "nothing", "published", "scratch_folder", "sha256_of"]
__all__ += ["regular", "sync", "write_manifest", "writer_name"]

MANIFEST, FORMAT = "manifest.json", 1
Gate = Callable[[], None]


def nothing() -> None:
    """The default gate of `published`: nothing is checked before the rename."""


@contextmanager
def published(final: Path, *, mark: str = "", gate: Gate = nothing) -> Iterator[Path]:
    """A scratch folder that becomes `final`, synced to disk, only if the block succeeds."""
    with scratch_folder(final, mark) as scratch:
        yield scratch
        for file in scratch.iterdir():
            sync(file)
        gate()
        if final.exists():
            os.replace(final, replaced := scratch.with_name(scratch.name + ".replaced.partial"))
            os.replace(scratch, final)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.replace(scratch, final)
    sync(final.parent)


@contextmanager
def scratch_folder(final: Path, mark: str) -> Iterator[Path]:
    """A folder beside `final`, gone when the block ends unless it was renamed."""
    scratch = final.with_name(f".{final.name}.{mark or writer_name()}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def writer_name() -> str:
    """A name of this process alone: the orphan of a killed driver may write the same folder."""
    return f"{socket.gethostname()}-{os.getpid()}"


def write_manifest(folder: Path, below: str = "") -> None:
    """Writes the hash of every file of a folder beside them, under the names `below` + theirs."""
    hashes = {below + f.name: sha256_of(f) for f in sorted(folder.iterdir())}
    text = json.dumps({"format": FORMAT, "sha256": hashes}, indent=2)
    (folder / MANIFEST).write_text(text)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, hexadecimal; OSError if it is a pipe or a device."""
    with regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def regular(path: Path) -> BufferedReader:
    """A file to read; OSError if it is a pipe, which may never begin, or a device, without end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no regular file")
    return open(handle, "rb")


def sync(path: Path) -> None:
    """Brings a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
