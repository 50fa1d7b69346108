"""Image files in a folder, a zip or a tar, sorted by name, with an optional table of labels."""

import hashlib
import json
import logging
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

from pipeline.data.decoding import decode
from pipeline.data.pixels import Pixels
from pipeline.data.sources.containers import (
    Container,
    FolderOfFiles,
    TarOfFiles,
    ZipOfFiles,
    open_container,
)
from pipeline.data.sources.labels import Row, Table, read_table, require_table_size
from pipeline.data.sources.source import Options, Sample, Source
from stylealae.errors import DataError

__all__ = ["Files", "Folder", "Tar", "Zip"]

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm"),
        *(".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    )
)
LABELS = "labels.csv"


class Files(Source):
    """Image files of a container; other files are left aside and reported."""

    takes_labels = True
    container: Callable[[str], Container] = staticmethod(open_container)
    _base = PurePosixPath(".")  # folder that the names in the table begin in

    def __init__(self, input: str, options: Options) -> None:
        """List the images and read what is known about them."""
        super().__init__(input, options)
        self.files = self.container(input)
        names = [name for name in self.files.sizes if not _hidden(name)]
        self._keys = self.chosen([name for name in names if _suffix(name) in SUFFIXES])
        self.others = Counter(map(_suffix, set(names) - set(self._keys)))
        if not self._keys:
            raise DataError(
                f"{input} holds no images: looked for {' '.join(sorted(SUFFIXES))}, found "
                f"{_listed(self.others) or 'no files at all'}"
            )
        self.table = self.read_labels(names)
        self.label_names = self.table.names
        digest = hashlib.sha256(json.dumps(self.label_names).encode())
        for key in self._keys:
            what = f"{key}\0{self.files.sizes[key]}\0{json.dumps(self.row(key))}\n"
            digest.update(what.encode("utf-8", "surrogateescape"))
        self.fingerprint = digest.hexdigest()

    def chosen(self, images: list[str]) -> list[str]:
        """Which of the image files to take, in order."""
        return sorted(images)

    def read_labels(self, names: Iterable[str]) -> Table:
        """The table given, else the labels.csv inside, else the one beside a zip or tar."""
        inside = [name for name in names if PurePosixPath(name).name == LABELS]
        beside = Path(self.input).with_name(LABELS)
        if self.options.labels is not None:
            require_table_size(self.options.labels, Path(self.options.labels).stat().st_size)
            return read_table(self.options.labels, Path(self.options.labels).read_bytes())
        if inside:
            name = min(inside, key=lambda name: (name.count("/"), name))
            self._base = PurePosixPath(name).parent
            require_table_size(f"{self.input}: {name}", self.files.sizes[name])
            return read_table(f"{self.input}: {name}", self.files.read(name))
        if beside.is_file() and not Path(self.input).is_dir():
            require_table_size(str(beside), beside.stat().st_size)
            table = read_table(str(beside), beside.read_bytes())
            if any(
                key in table.rows or PurePosixPath(key).name in table.rows for key in self._keys
            ):
                return table
            log.warning("%s knows no image of %s and is left aside", beside, self.input)
        return Table()

    def row(self, key: str) -> Row | None:
        """An image's labels, named from the root, from the table's folder, or by file name."""
        path = PurePosixPath(key)
        names = [key, path.name]
        if path.is_relative_to(self._base):
            names.insert(1, str(path.relative_to(self._base)))
        return next((self.table.rows[name] for name in names if name in self.table.rows), None)

    def examine(self, key: str, data: bytes, image: Pixels) -> tuple[str, ...]:
        """What is remarkable about a file; DataError if it is not what the input says it is."""
        return ()

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, i: int) -> str:
        """Path of image i inside the container."""
        return self._keys[i]

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        key = self._keys[i]
        try:
            data = self.files.read(key)
            image, changes = decode(data, self.channels)
            changes += self.examine(key, data, image)
        except DataError as error:
            raise DataError(f"{key}: {error}") from error
        return Sample(key, image, self.table.labels(self.row(key)), changes)

    def report(self) -> None:
        """Log what was left aside and which images the label table does not know."""
        if self.others:
            log.info("%s: left aside %s", self.input, _listed(self.others))
        unknown = sum(self.row(key) is None for key in self._keys) if self.table.names else 0
        if unknown == len(self):
            raise DataError(
                f"{self.input}: the table of labels knows none of the {unknown} images, such as "
                f"{self._keys[0]}: name them in its first column, or give another with --labels"
            )
        if unknown:
            log.warning("%s: %d images have no row in the table of labels", self.input, unknown)


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
        """Whether it is a zip."""
        return path.is_file() and zipfile.is_zipfile(path)


class Tar(Files):
    """Image files in an uncompressed tar, read in place."""

    name = "tar"
    container = TarOfFiles

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is named as a tar."""
        return path.is_file() and path.suffix == ".tar"


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _hidden(name: str) -> bool:
    """Whether a file is the desktop's and not the user's: .DS_Store, ._x.jpg, __MACOSX/x.jpg."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") and part != "." for part in parts)


def _listed(others: Counter[str]) -> str:
    return ", ".join(f"{n} {suffix or 'unnamed'} files" for suffix, n in others.most_common(8))
