"""What holds files: a folder, a zip or an uncompressed tar, read in place, nothing extracted."""

import lzma
import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pipeline.data.format import tar
from stylealae.errors import DataError

__all__ = [
    "Container",
    "FolderOfFiles",
    "TarOfFiles",
    "ZipOfFiles",
    "entries_of",
    "open_container",
]

MAX_BYTES = 300 << 20
"""A larger file is no picture, and in a zip it may be a few kilobytes that unpack to it."""
PIECE = 64
"""Bytes inflated at once by bzip2 and LZMA, whose decoders here know no bound: 90 MB at most."""


class Container(ABC):
    """Files by name, in any order."""

    sizes: Mapping[str, int]
    """Length of every file."""

    def read(self, name: str) -> bytes:
        """The file's content; DataError says why it cannot be had."""
        if self.sizes[name] > MAX_BYTES:
            raise DataError(f"it has {self.sizes[name]:,} bytes, more than {MAX_BYTES:,}")
        try:
            return self._bytes(name)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"it cannot be read ({error})") from error
        except (zlib.error, lzma.LZMAError) as error:
            raise DataError(f"it cannot be unpacked ({error})") from error

    @abstractmethod
    def _bytes(self, name: str) -> bytes:
        """The file's content."""


class FolderOfFiles(Container):
    """The files in a folder and the folders below it, links followed."""

    def __init__(self, path: str) -> None:
        """List the files."""
        self._path = path
        found: dict[str, int] = {}
        seen: set[str] = set()
        for root, folders, names in os.walk(path, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:  # a link that leads back up
                folders.clear()
                continue
            seen.add(real)
            for name in names:
                file = Path(root, name)
                if file.is_file():
                    found[file.relative_to(path).as_posix()] = file.stat().st_size
        self.sizes = found

    def _bytes(self, name: str) -> bytes:
        with open(os.path.join(self._path, name), "rb") as file:
            return file.read()


class ZipOfFiles(Container):
    """The files in a zip."""

    def __init__(self, path: str) -> None:
        """List the files."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read as a zip: {error}") from error
        files = (info for info in self._zip.infolist() if not info.is_dir())
        self.sizes = {info.filename: info.file_size for info in files}

    def _bytes(self, name: str) -> bytes:
        with self._zip.open(name) as member:
            if self._zip.getinfo(name).compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return member.read(self.sizes[name])  # never inflates beyond what it claims
            cast(zipfile.ZipExtFile, member).MIN_READ_SIZE = PIECE
            return b"".join(iter(lambda: member.read(PIECE), b""))


class TarOfFiles(Container):
    """The files in an uncompressed tar."""

    def __init__(self, path: str) -> None:
        """List the files."""
        self._members = {member.name: member for member in tar.members(Path(path))}
        self._file = open(path, "rb")  # noqa: SIM115 - open as long as the source is
        self.sizes = {name: member.size for name, member in self._members.items()}

    def _bytes(self, name: str) -> bytes:
        member = self._members[name]
        return os.pread(self._file.fileno(), member.size, member.offset)


def open_container(path: str) -> Container:
    """The files of a folder, zip or tar, whichever `path` is."""
    if os.path.isdir(path):
        return FolderOfFiles(path)
    if zipfile.is_zipfile(path):
        return ZipOfFiles(path)
    if path.endswith(".tar"):
        return TarOfFiles(path)
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    if start.startswith(b"<"):
        raise DataError(
            f"{path} is a web page, not an archive: the download failed, fetch it again"
        )
    if tarfile.is_tarfile(path):
        raise DataError(
            f"{path} is a compressed tar, which cannot be read in place: unpack it first"
        )
    raise DataError(
        f"{path} is neither a folder nor a zip nor a tar: pack the images as one of them"
    )


def entries_of(path: Path) -> list[str]:
    """The names in a folder, not below it, or all names in a zip: what tells inputs apart."""
    if path.is_dir():
        return sorted(os.listdir(path))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    return []
