"""What holds files: a folder, a zip or uncompressed tars, read in place, nothing extracted."""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self, cast

from pipeline.data.format import tar
from pipeline.data.signatures import compression, instead_of_container, stand_in
from pipeline.data.sources.container import Container
from pipeline.data.sources.digest import digest_of
from pipeline.data.sources.left_aside import LeftAside, hidden, suffix_of
from pipeline.data.sources.reach import is_out_of_reach, unreachable
from pipeline.data.sources.zip_list import opened_without_list
from pipeline.data.sources.zip_names import ZipNames
from pipeline.storage.publish import regular
from stylealae.errors import DataError

__all__ = [
    "Container",
    "FolderOfFiles",
    "TarsOfFiles",
    "ZipOfFiles",
    "beginning",
    "entries_of",
    "is_tar_name",
    "is_zip",
    "open_container",
]

OPEN = 64  # tars of a folder that are open at a time
NOWHERE = "links that lead nowhere"
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
PIECE = 64
"""Bytes inflated at once by bzip2 and LZMA, whose decoders here know no bound: 90 MB at most."""


class FolderOfFiles(Container):
    """The files in a folder and the folders below it, links followed."""

    def __init__(self, path: str) -> None:
        """List the files."""
        super().__init__()
        self._path = path
        if not os.path.isdir(path):
            raise DataError(f"{path} is a file, not a folder: leave --source out, or name its kind")
        self.unreadable: list[str] = []
        """What is called as a file is and is none: links that lead nowhere, pipes and devices."""
        found: dict[str, int] = {}
        seen: set[str] = set()

        def unreadable(error: OSError) -> None:
            self.left_aside.add("folders that cannot be read", [self._name(error.filename)])

        for root, folders, names in os.walk(path, onerror=unreadable, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:  # a link that leads back up, or to a folder beside it
                self.left_aside.add("links to folders listed already", [self._name(root)])
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            prefix = "" if root == path else f"{self._name(root)}/"
            for name in names:
                about = _about(os.path.join(root, name))
                if isinstance(about, int):
                    found[f"{prefix}{name}"] = about
                else:
                    self.unreadable.append(f"{prefix}{name}")
                    self.left_aside.add(about, [f"{prefix}{name}"])
        self.sizes = found

    def _name(self, path: str | Path) -> str:
        return Path(path).relative_to(self._path).as_posix()

    def part(self, names: Collection[str]) -> Self:
        """Some of the files."""
        part = super().part(names)
        part.unreadable = []
        return part

    def _bytes(self, name: str) -> bytes:
        with self._stream(name) as file:
            return file.read()

    def _stream(self, name: str) -> BinaryIO:
        return open(os.path.join(self._path, name), "rb")

    def digest(self, name: str) -> bytes:
        """Of parts of the file."""
        try:
            with open(os.path.join(self._path, name), "rb") as file:
                return digest_of(file.fileno(), 0, self.sizes[name])
        except OSError as error:
            if is_out_of_reach(error):
                raise unreachable(name, error) from error
            return b""


class ZipOfFiles(Container):
    """The files in a zip; a backslash in a name, as some programs of Windows write, is a slash."""

    def __init__(self, path: str) -> None:
        """List the files."""
        super().__init__()
        self._path, self._zip = path, _opened_zip(path)
        self._whole = [info for info in self._zip.infolist() if not info.is_dir()]
        self._names = ZipNames(self._whole)
        self._list()

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        """The zip of a part, which knows its files."""
        return opened_without_list(self._path)

    def part(self, names: Collection[str]) -> Self:
        """Some of the files."""
        part = super().part(names)
        part._members = {name: self._members[name] for name in names}
        for whole in ("_zip", "_whole", "_names"):
            vars(part).pop(whole, None)
        return part

    @property
    def names_guessed(self) -> int:
        """Files whose names are in a code page that nothing states."""
        return self._names.guessed

    def name_as(self, said: Collection[str]) -> str:
        """Reads such names as most are among `said`, by their `forms`; how, for people."""
        if matched := self._names.match(said):
            self._list()
        return f"{self._path}: {self._names.report(matched)}"

    def _list(self) -> None:
        self.left_aside = LeftAside()
        files = list(zip(self._names, self._whole, strict=True))
        _require_distinct(self._path, (name for name, _ in files))
        self._members = dict(files)
        for name, info in files:
            if stat.S_ISLNK(info.external_attr >> 16):
                self._resolve(name, info)
        self.sizes = {name: info.file_size for name, info in self._members.items()}

    def _resolve(self, name: str, info: zipfile.ZipInfo) -> None:
        """Put the file that a link leads to in its place, or leave the link aside."""
        try:
            target = self._zip.read(info).decode() if info.file_size < 4096 else ""
        except (OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error):
            target = ""
        whole = os.path.normpath(os.path.join(os.path.dirname(name), target))
        found = self._members.get(whole)
        if found is None or stat.S_ISLNK(found.external_attr >> 16):
            del self._members[name]
            self.left_aside.add(NOWHERE, [name])
        else:
            self._members[name] = found

    def _bytes(self, name: str) -> bytes:
        with self._stream(name) as member:
            if self._members[name].compress_type in BOUNDED:
                return member.read(self.sizes[name])  # never inflates beyond what it claims
            return b"".join(iter(lambda: member.read(PIECE), b""))

    def _stream(self, name: str) -> BinaryIO:
        info = self._members[name]
        if info.flag_bits & 1:
            raise RuntimeError("it is encrypted: unpack the zip with its password")
        member = cast(zipfile.ZipExtFile, self._zip.open(info))
        if info.compress_type not in BOUNDED:
            member.MIN_READ_SIZE = PIECE
        return cast(BinaryIO, member)

    def digest(self, name: str) -> bytes:
        """The checksum that the zip holds."""
        return self._members[name].CRC.to_bytes(4, "big")


class TarsOfFiles(Container):
    """The files in an uncompressed tar, or in those of a folder: then `00000.tar/a.jpg`."""

    def __init__(self, path: str) -> None:
        """List the files, links resolved."""
        super().__init__()
        self._beside = FolderOfFiles(path) if os.path.isdir(path) else None
        names = _tars_of(self._beside) if self._beside else [""]
        tars = [Path(path, name) for name in names]
        self._members: dict[str, tuple[Path, tar.Member]] = {}
        for file, name in zip(tars, names, strict=True):
            self._list(file, f"{name}/" if name else "")
        sizes = {name: member.size for name, (_, member) in self._members.items()}
        if self._beside:
            plain = self._beside.sizes.items()
            sizes |= {name: size for name, size in plain if hidden(name) or not is_tar_name(name)}
            self.left_aside.add_all(self._beside.left_aside)
        self.sizes = sizes

    @cached_property
    def _opened(self) -> Callable[[Path], BinaryIO]:
        return lru_cache(maxsize=OPEN)(regular)

    def part(self, names: Collection[str]) -> Self:
        """Some of the files."""
        part = super().part(names)
        part._members = {name: self._members[name] for name in names if name in self._members}
        if self._beside:
            part._beside = self._beside.part([name for name in names if name not in part._members])
        vars(part).pop("_opened", None)
        return part

    def _list(self, path: Path, prefix: str) -> None:
        try:
            listed = tar.members(path)
        except DataError as error:
            start = beginning(path)
            said = stand_in(start) or compression(start)
            raise (DataError(f"{path} is no tar: {said}") if said else error) from error
        _require_distinct(str(path), (member.name for member in listed))
        files = {os.path.normpath(member.name): member for member in listed}
        for member in listed:
            found = tar.resolved(member, files)
            if found is None:
                why = NOWHERE if member.link else "special files"
                self.left_aside.add(why, [f"{prefix}{member.name}"])
            else:
                self._members[f"{prefix}{member.name}"] = path, found

    def _bytes(self, name: str) -> bytes:
        if name not in self._members and self._beside:
            return self._beside.read(name)
        path, member = self._members[name]
        file = self._opened(path)
        return os.pread(file.fileno(), member.size, member.offset)

    def digest(self, name: str) -> bytes:
        """Of parts of the member."""
        if name not in self._members and self._beside:
            return self._beside.digest(name)
        path, member = self._members[name]
        file = self._opened(path)
        return digest_of(file.fileno(), member.offset, member.size)


def open_container(path: str) -> Container:
    """The files of a folder, zip or tar, whichever `path` is."""
    if os.path.isdir(path):
        return FolderOfFiles(path)
    if is_zip(Path(path)):
        return ZipOfFiles(path)
    if is_tar_name(path) or tar.is_tar(Path(path)):
        return TarsOfFiles(path)
    said = instead_of_container(beginning(path))
    raise DataError(f"{path} is neither a folder nor a zip nor a tar: {said}")


def _tars_of(folder: FolderOfFiles) -> list[str]:
    """What is called as tars are, without what systems put beside them; none may be unreadable."""
    found = sorted((*folder.sizes, *folder.unreadable))
    return [name for name in found if is_tar_name(name) and not hidden(name)]


def is_tar_name(name: str | Path) -> bool:
    """Whether a file is called as tars are."""
    return suffix_of(str(name)) == ".tar"


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, whatever it is called, and no tar whose last file is one."""
    return zipfile.is_zipfile(path) and not tar.is_tar(path)


def beginning(path: str | Path) -> bytes:
    """The first bytes of a file, by which its kind is told."""
    with regular(Path(path)) as file:
        return file.read(4096)


def entries_of(path: Path) -> list[str]:
    """The names in a folder, not below it, or all names in a zip: what tells inputs apart."""
    if path.is_dir():
        return sorted(os.listdir(path))
    if is_zip(path):
        with _opened_zip(str(path)) as archive:
            return [name.replace("\\", "/") for name in archive.namelist()]
    return []


def _about(file: str) -> int | str:
    """The length of a file, or why it is none that can be read."""
    try:
        found = os.stat(file)
    except OSError:
        return NOWHERE if os.path.islink(file) else "files that cannot be read"
    return found.st_size if stat.S_ISREG(found.st_mode) else "special files"


def _opened_zip(path: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a zip: {error}") from error


def _require_distinct(path: str, names: Iterable[str]) -> None:
    """Refuses an archive in which two files have one name: the second would hide the first."""
    met: set[str] = set()
    for name in names:
        plain = PurePosixPath(name.replace("\\", "/")).as_posix()
        if plain in met:
            raise DataError(f"{path} holds two files named {plain}: pack it anew, each file once")
        met.add(plain)
