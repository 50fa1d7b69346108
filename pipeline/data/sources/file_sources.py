"""Image files as most people keep them: in a folder, a zip or tars."""

from collections.abc import Collection
from pathlib import Path

from pipeline.data.format.tar import is_tar
from pipeline.data.sources.containers import (
    FolderOfFiles,
    TarsOfFiles,
    ZipOfFiles,
    is_tar_name,
    is_zip,
)
from pipeline.data.sources.files import Files
from pipeline.data.sources.left_aside import hidden, suffix_of
from pipeline.data.sources.pictures import SUFFIXES
from pipeline.data.sources.sidecars import one_of_each_sample

__all__ = ["Folder", "Tar", "Zip"]


class Folder(Files):
    """Image files in a folder and the folders below it, links followed."""

    name = "folder"
    container = FolderOfFiles

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a folder."""
        return path.is_dir()


class Zip(Files):
    """Image files in a zip."""

    name = "zip"
    container = ZipOfFiles

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a zip, whatever it is called."""
        return path.is_file() and is_zip(path)


class Tar(Files):
    """Image files in an uncompressed tar, or in all tars of a folder, read in place.

    What lies beside an image under its name, as `.cls`, `.json` and `.txt` in shards of WebDataset,
    becomes its labels.
    """

    name = "tar"
    container = TarsOfFiles
    takes_sidecars = True

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a tar or is called so, or a folder of such and of no images."""
        if path.is_dir():
            tars = any(map(is_tar_name, entries)) or any(map(is_tar_name, path.glob("*/*.*")))
            return tars and not any(
                suffix_of(name) in SUFFIXES and not hidden(name)
                for name in FolderOfFiles(str(path)).sizes
            )
        named = is_tar_name(path) and not is_zip(path)
        return path.is_file() and (named or is_tar(path))

    def chosen(self, images: list[str]) -> list[str]:
        """All images; of a sample with labels, the one with the shortest ending."""
        return one_of_each_sample(images, self.files.sizes)
