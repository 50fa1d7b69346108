"""Parquet files of a data set of the hub, read where they lie: a group of rows at a time."""

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import PurePath, PurePosixPath
from typing import Self

from pipeline.data.sources.left_aside import hidden
from pipeline.data.sources.parquet import Parquet
from pipeline.data.sources.source import Options, needed
from stylealae.interop import hub

__all__ = ["HubParquet"]


class HubParquet(Parquet):
    """`hf://datasets/owner/name[/folder][@revision]`: pinned to the commit that this is now.

    What the hub's cache holds is read there, and is all there is without a network.
    """

    def __init__(self, input: str, options: Options) -> None:
        """Ask for the commit and the names of its files."""
        self._set = hub.dataset(input)
        self._found = {PurePosixPath(file.name): file for file in self._set.files}
        super().__init__(self._set.pinned, options)

    def part(self, start: int, stop: int) -> Self:
        """Some images, and the files that they lie in."""
        part = super().part(start, stop)
        part._found = {path: self._found[path] for path in map(PurePosixPath, part._paths)}
        part._set = replace(self._set, files=())
        return part

    def listed(self) -> list[PurePath]:
        """The names of the Parquet files."""
        return [p for p in self._found if p.suffix == ".parquet" and not hidden(str(p))]

    def within(self, path: PurePath) -> PurePath:
        """The name of a file below the folder that is asked for."""
        return path.relative_to(self._set.folder)

    def below(self, folder: str) -> str:
        """The address of a folder of it, at the same commit."""
        repo, above, commit = hub.repository(self._set.pinned)
        return hub.dataset_address(repo, str(PurePosixPath(above, folder)), commit)

    def opened(self, path: PurePath) -> object:
        """A file, for pyarrow."""
        return needed("pyarrow", "Parquet").PythonFile(self._found[PurePosixPath(path)].open(), "r")

    def beginning(self, path: PurePath) -> bytes:
        """The first bytes of a file."""
        with self._found[PurePosixPath(path)].open() as file:
            return file.read(4096) or b""

    def leave_rest(self) -> None:
        """Note the files that are not Parquet."""
        self.left_aside.add_by_suffix(str(p) for p in self._found if p.suffix != ".parquet")

    @cached_property
    def fingerprint(self) -> str:
        """Of the names of the files and of their hashes, which the hub knows."""
        found = hashlib.sha256()
        for path, ends in zip(self._paths, self._groups, strict=True):
            file = self._found[PurePosixPath(path)]
            found.update(f"{path.name}\0{file.size}\0{ends}\0{file.digest}\n".encode())
        return found.hexdigest()
