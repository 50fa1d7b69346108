"""An object store, through fsspec; what is used as a folder is fetched into a spool on this host.

An object store has no rename, but it replaces a single object whole.  So what is published is the
manifest, which names the files; those are uploaded before it and their lengths compared, and each
writer puts them in a folder of its own, so two writers of one checkpoint never mix their files:

    0064/seen-0000012800/manifest.json                              the one that counts
    0064/seen-0000012800/00000007.0002-.../networks.safetensors     what it names

`create` is a conditional put.  s3:// is tested against moto, az:// against azurite, gs:// against
an emulator that knows no conditional put.  Where library or store ignore the condition, s3fs before
2024.12 say, that is found by creating the first file twice, and said; who has written last is then
the one who has created.
"""

import copy
import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from fsspec.asyn import sync

from pipeline.storage.disk import full_disk_advice, is_full
from pipeline.storage.filesystem import filesystem
from pipeline.storage.publish import (
    MANIFEST,
    Gate,
    nothing,
    scratch_folder,
    sha256_of,
    write_manifest,
    writer_name,
)
from pipeline.storage.retry import Retry
from pipeline.storage.storage import Sleep, Storage

__all__ = ["ObjectStorage"]

log = logging.getLogger(__name__)

SPOOL = Path("~/.cache/stylealae/runs")
STALL_S = 30.0  # without an answer for so long, and a second more a MiB, a call is given up
MIB = 1 << 20
TRANSFERS = 3  # of one file, until what arrives has its hash
CHECKED_BYTES = 16 * MIB  # of an upload, read back at a time
PART_BYTES = 4 * MIB  # of a file that is read whole, at a time: a slow link is not a silent one
OTHERS_S = 3.0  # by which others have written who began to create a file at the same time


class ObjectStorage(Storage):
    """What lies below a URL; every call is retried."""

    remote = True

    def __init__(self, where: str, retry: Retry) -> None:
        """Finds what speaks the URL's protocol; nothing is sent yet."""
        digest = hashlib.sha256(where.encode()).hexdigest()[:8]
        super().__init__(where, SPOOL.expanduser() / f"{where.rpartition('/')[2]}-{digest}")
        self._fs, self._root = filesystem(where)
        self._retry = retry
        self._is_exclusive: bool | None = None
        """Whether creating a file that is there fails; None before the first was created."""

    def with_sleep(self, sleep: Sleep) -> Self:
        """The same files for one caller, with a sleep of its own between retries."""
        other = copy.copy(self)
        other._retry = replace(self._retry, sleep=sleep)
        return other

    def names(self, below: str = "") -> list[str]:
        """What lies directly in a folder."""
        skip = len(below) + 1 if below else 0
        return sorted({name[skip:].split("/")[0] for name in self._sizes_if_any(below)})

    def sizes(self, below: str = "") -> Mapping[str, int]:
        """Name and length of every file in a folder, or of the file of this name."""

        def find() -> Mapping[str, Mapping[str, Any]]:
            found: dict[str, dict[str, Any]] | list[str] = self._call(
                "find", self._path(below), detail=True, timeout=10 * STALL_S
            )
            if isinstance(found, list):  # adlfs gives of a file, or of nothing, no more than this
                return {path: self._call("info", path) for path in found}
            return found

        found = self._retry(below, find)
        skip = len(self._root) + 1
        return {path[skip:]: int(about["size"]) for path, about in found.items()}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, or a range of its bytes."""
        path = self._path(name)

        def cat(timeout: float, **part: int) -> bytes:
            return self._retry(
                name, lambda: bytes(self._call("cat_file", path, timeout=timeout, **part))
            )

        if stop is not None:
            return cat(STALL_S + (stop - start) / MIB, start=start, end=stop)
        length = self._retry(name, lambda: self._call("info", path)["size"])
        if length is None or length <= PART_BYTES:  # None: of a server that says no lengths
            return cat(STALL_S + PART_BYTES / MIB)[start:]
        return b"".join(
            self.read(name, at, min(at + PART_BYTES, int(length)))
            for at in range(start, int(length), PART_BYTES)
        )

    def write(self, name: str, content: bytes) -> None:
        """A file."""
        path, timeout = self._path(name), STALL_S + len(content) / MIB
        self._retry(
            name, lambda: self._call("pipe_file", path, content, timeout=timeout), does="written"
        )

    def create(self, name: str, content: bytes) -> bool:
        """A file that was not there, by a conditional put."""
        if not self._created(name, content):
            return False
        if self._is_exclusive is None:
            self._is_exclusive = not self._created(name, content)
            if not self._is_exclusive:
                log.warning(
                    "%s lets a file be created that is there: of two commands that begin the same "
                    "run at the same moment both may hold it. Update the library that reads it "
                    "(pip install -U s3fs gcsfs adlfs: 2024.12 or later) or the store (it is to "
                    "know If-None-Match); until then begin one after the other",
                    self.where,
                )
        if self._is_exclusive:
            return True
        self._retry.sleep(OTHERS_S)
        return self.read(name) == content

    def _created(self, name: str, content: bytes) -> bool:
        """Whether the store has taken the file, which it should if there was none."""
        path = self._path(name)
        try:
            self._retry(
                name, lambda: self._call("pipe_file", path, content, mode="create"), does="written"
            )
        except FileExistsError:
            return False
        return True

    def put(self, file: Path, name: str, sha256: str) -> None:
        """A file of this host, uploaded and read back."""
        for _ in range(TRANSFERS):
            self._upload(file, name)
            if (found := self._sha256(name, file.stat().st_size)) == sha256:
                return
            log.warning("%s did not arrive as it was sent: it is sent again", self.at(name))
        raise self._retry.error(
            f"{self.at(name)} holds {found or 'another length'} after {TRANSFERS} uploads, sent "
            f"was {sha256}: look after the store and whoever else writes there, then run the same "
            "command again"
        )

    def send(self, file: Path, name: str) -> None:
        """An upload in parts, of a copy: a file that grows meanwhile would not have its length."""
        with scratch_folder(self.working / ".sending" / file.name, "") as scratch:
            shutil.copyfile(file, copied := scratch / file.name)
            self._upload(copied, name)

    def remove(self, name: str) -> None:
        """Removes a file, or a folder with what it holds."""

        def drop(path: str) -> None:
            try:
                self._retry(name, lambda: self._call("rm_file", path), does="removed")
            except FileNotFoundError:
                return

        # What makes it whole goes first: a folder that is half removed is not there.
        for found in sorted(self._sizes_if_any(name), key=lambda n: not n.endswith(MANIFEST)):
            drop(self._path(found))

    @contextmanager
    def publish(self, name: str, *, mark: str = "", gate: Gate = nothing) -> Iterator[Path]:
        """See `Storage`; each writer's files lie in a folder of its own below `name`."""
        # Not even a writer's own files are written over: those of before count until the manifest.
        mark = f"{mark or writer_name()}-{time.time_ns():020d}"
        with scratch_folder(self.working / ".publishing" / name, mark) as scratch:
            yield scratch
            write_manifest(scratch, below=f"{mark}/")
            files = {f"{name}/{mark}/{f.name}": f for f in scratch.iterdir() if f.name != MANIFEST}
            for there, file in files.items():
                self._upload(file, there)
            found = self._sizes_if_any(name)
            for there, file in files.items():
                if found.get(there, -1) != file.stat().st_size:
                    raise self._retry.error(
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

    def verified(self, name: str, *, replacing: str = "") -> Path:
        """See `Storage`; fetched into the spool, once a host."""
        spool = self.working / ".fetched"
        folder = spool / name
        folder.mkdir(parents=True, exist_ok=True)
        with (spool / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the processes of a host fetch once
            for other in folder.parent.glob(replacing) if replacing else ():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
            for file, wanted in self.hashes(name).items():
                final = folder / Path(file).name
                if not (final.exists() and sha256_of(final) == wanted):
                    self._fetch(f"{name}/{file}", final, wanted)
        return folder

    def _call(self, method: str, *args: Any, timeout: float | None = None, **options: Any) -> Any:
        """A method of the file system, given up after `timeout` seconds where that can be done."""
        if not self._fs.async_impl:
            return getattr(self._fs, method)(*args, **options)
        work = getattr(self._fs, f"_{method}")
        return sync(self._fs.loop, work, *args, timeout=timeout or STALL_S, **options)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _sizes_if_any(self, below: str) -> Mapping[str, int]:
        """As `sizes`; none where there is no such folder or bucket."""
        try:
            return self.sizes(below)
        except FileNotFoundError:
            return {}

    def _length(self, name: str) -> int:
        return int(self._call("info", self._path(name))["size"])

    def _upload(self, file: Path, name: str, gate: Gate = nothing) -> None:
        path, timeout = self._path(name), STALL_S + file.stat().st_size / MIB

        def put() -> None:
            gate()  # before every try: the store may have been down for minutes
            self._call("put_file", str(file), path, timeout=timeout)

        self._retry(name, put, does="written")

    def _fetch(self, name: str, final: Path, sha256: str) -> None:
        """A file of the store, which is damaged only if it arrives so again and again."""
        for _ in range(TRANSFERS):
            self._download(name, final)
            if sha256_of(final) == sha256:
                return
            log.warning("%s arrived without the hash in its %s", self.at(name), MANIFEST)
        raise ValueError(f"{final.name} does not have the hash in {MANIFEST}")

    def _download(self, name: str, final: Path) -> None:
        path, scratch = self._path(name), final.with_name(f".{final.name}.partial")

        def get() -> None:
            timeout = STALL_S + self._length(name) / MIB
            self._call("get_file", path, str(scratch), timeout=timeout)

        try:
            self._retry(name, get)
        except OSError as error:
            if not is_full(error):
                raise
            scratch.unlink(missing_ok=True)
            raise self._retry.error(
                f"{self.at(name)} does not fit on this host's disk ({error}): "
                f"{full_disk_advice(self.working)}, then run the same command again"
            ) from error
        os.replace(scratch, final)

    def _sha256(self, name: str, length: int) -> str:
        """Hash of a file as the store gives it back; empty if it has another length."""
        if self._retry(name, lambda: self._length(name)) != length:
            return ""
        digest = hashlib.sha256()
        for start in range(0, length, CHECKED_BYTES):
            digest.update(self.read(name, start, min(start + CHECKED_BYTES, length)))
        return digest.hexdigest()
