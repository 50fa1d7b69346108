"""A run in an object store, through fsspec; what is used is fetched into a spool on this host.

An object store has no rename, but it replaces a single object whole.  So what is published is the
manifest, which names the files; those are uploaded before it and their lengths compared, and each
writer puts them in a folder of its own, so two writers of one checkpoint never mix their files:

    0064/seen-0000012800/manifest.json                              the one that counts
    0064/seen-0000012800/00000007.0002-.../networks.safetensors     what it names

`create` is a conditional put.  s3:// is tested (against moto); gs:// and az:// take the same way,
with gcsfs or adlfs installed, and are not.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.storage.retry import STALL_S, Objects
from pipeline.storage.run_folder import (
    MANIFEST,
    Gate,
    Storage,
    nothing,
    scratch_folder,
    sha256_of,
    write_manifest,
)
from stylealae.errors import CheckpointError

__all__ = ["Bucket"]

SPOOL = Path("~/.cache/stylealae/runs")


class Bucket(Storage):
    """An object store, through fsspec; what is used is fetched into the spool of this host."""

    remote = True

    def __init__(self, where: str, patience_s: float) -> None:
        digest = hashlib.sha256(where.encode()).hexdigest()[:8]
        name = f"{where.rpartition('/')[2]}-{digest}"
        super().__init__(where, SPOOL.expanduser() / name)
        self._objects = Objects(where, patience_s, "checkpoint.patience_s", CheckpointError)

    def names(self, below: str = "") -> list[str]:
        """What lies directly in a folder."""
        found = self._listed(below)
        skip = len(below) + 1 if below else 0
        return sorted({name[skip:].split("/")[0] for name in found})

    def read(self, name: str) -> bytes:
        """A file."""
        path, at = self._path(name), self._objects
        return bytes(at.patiently(name, lambda: at.call("cat_file", path)))

    def write(self, name: str, content: bytes) -> None:
        """A file, in place of the one of this name."""
        path, at = self._path(name), self._objects
        at.patiently(name, lambda: at.call("pipe_file", path, content), does="written")

    def create(self, name: str, content: bytes) -> bool:
        """A file that was not there, by a conditional put."""
        path, at = self._path(name), self._objects
        try:
            at.patiently(
                name, lambda: at.call("pipe_file", path, content, mode="create"), does="written"
            )
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with what it holds."""
        at = self._objects

        def drop(path: str) -> None:
            try:
                at.patiently(name, lambda: at.call("rm_file", path), does="removed")
            except FileNotFoundError:
                return

        # What makes it whole goes first: a folder that is half removed is not there.
        for found in sorted(self._listed(name), key=lambda n: not n.endswith(MANIFEST)):
            drop(self._path(found))

    @contextmanager
    def publishing(self, name: str, *, mark: str = "", gate: Gate = nothing) -> Iterator[Path]:
        """See `Storage`; each writer's files lie in a folder of its own below `name`."""
        # Not even a writer's own files are written over: those of before count until the manifest.
        mark = f"{mark or f'{socket.gethostname()}-{os.getpid()}'}-{time.time_ns():020d}"
        with scratch_folder(self.working / ".publishing" / name, mark) as scratch:
            yield scratch
            write_manifest(scratch, below=f"{mark}/")
            files = {f"{name}/{mark}/{f.name}": f for f in scratch.iterdir() if f.name != MANIFEST}
            for there, file in files.items():
                self._upload(file, there)
            found = self._listed(name)
            for there, file in files.items():
                if found.get(there, -1) != file.stat().st_size:
                    raise CheckpointError(
                        f"{self.at(there)} has {found.get(there, -1):,} bytes after its upload, "
                        f"not {file.stat().st_size:,}: look after the store"
                    )
            self._upload(scratch / MANIFEST, f"{name}/{MANIFEST}", gate)
        for other in found.keys() - files.keys() - {f"{name}/{MANIFEST}"}:
            if other.split("/")[-2] < mark:  # of a torn attempt, or one that this replaces
                self.remove(other)

    def scraps(self, below: str) -> list[Path]:
        """Scratch folders on this host."""
        return list((self.working / ".publishing" / below).glob(".*.partial"))

    def verified(self, name: str) -> Path:
        """See `Storage`; fetched into the spool, once a host."""
        spool = self.working / ".fetched"
        folder = spool / name
        folder.mkdir(parents=True, exist_ok=True)
        with (spool / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the processes of a host fetch once
            for other in folder.parent.iterdir():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
            for file, wanted in self._hashes(name).items():
                final = folder / Path(file).name
                if not (final.exists() and sha256_of(final) == wanted):
                    self._download(f"{name}/{file}", final)
                    if sha256_of(final) != wanted:
                        raise ValueError(f"{file} does not have the hash in {MANIFEST}")
        return folder

    def _path(self, name: str) -> str:
        return f"{self._objects.root}/{name}"

    def _download(self, name: str, final: Path) -> None:
        at, scratch = self._objects, final.with_name(f".{final.name}.partial")

        def get() -> None:
            length = int(at.call("info", self._path(name))["size"])
            timeout = STALL_S + length / (1 << 20)
            at.call("get_file", self._path(name), str(scratch), timeout=timeout)

        at.patiently(name, get)
        os.replace(scratch, final)

    def _upload(self, file: Path, name: str, gate: Gate = nothing) -> None:
        at, timeout = self._objects, STALL_S + file.stat().st_size / (1 << 20)

        def put() -> None:
            gate()  # before every try: the store may have been down for minutes
            at.call("put_file", str(file), self._path(name), timeout=timeout)

        at.patiently(name, put, does="written")

    def _listed(self, below: str) -> dict[str, int]:
        """Name and length of every file in a folder or of this name."""
        at = self._objects
        path = self._path(below) if below else at.root
        try:
            found = at.patiently(
                below, lambda: at.call("find", path, detail=True, timeout=10 * STALL_S)
            )
        except FileNotFoundError:
            return {}
        root = len(at.root) + 1
        return {file[root:]: int(about["size"]) for file, about in found.items()}
