"""Image files in a folder, a zip or a tar, sorted by name, with an optional labels.csv."""

import csv
import hashlib
import io
import logging
import math
import os
import zipfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.data import pixels, tars
from pipeline.data.source import Label, Options, Sample, Source
from stylealae.errors import DataError

__all__ = ["Folder", "Tar", "Zip"]

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm"),
        *(".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    )
)
LABELS = "labels.csv"


class Files(Source):
    """Every image file of a container; other files are left aside and reported."""

    def __init__(self, input: str, options: Options) -> None:
        """List the container's files and read labels.csv, whose first column is the file name."""
        super().__init__(input, options)
        sizes = {name: size for name, size in self._sizes().items() if not _hidden(name)}
        self._keys = sorted(name for name in sizes if _suffix(name) in SUFFIXES)
        self.others = Counter(_suffix(name) for name in sizes if _suffix(name) not in SUFFIXES)
        if not self._keys:
            raise DataError(
                f"{input} holds no images: looked for {' '.join(sorted(SUFFIXES))}, found "
                f"{_listed(self.others) or 'no files at all'}"
            )
        digest = hashlib.sha256()
        for key in self._keys:
            digest.update(f"{key}\0{sizes[key]}\n".encode("utf-8", "surrogateescape"))
        tables = [name for name in sizes if PurePosixPath(name).name == LABELS]
        self._labels: dict[str, dict[str, Label]] = {}
        if tables:
            table = min(tables, key=lambda name: (name.count("/"), name))
            text = self._bytes(table)
            digest.update(text)
            self.label_names, self._labels = _read_labels(f"{input}: {table}", text)
            self._table_folder = PurePosixPath(table).parent
        self.fingerprint = digest.hexdigest()

    @abstractmethod
    def _sizes(self) -> Mapping[str, int]:
        """Name and length of every file in the container."""

    @abstractmethod
    def _bytes(self, name: str) -> bytes:
        """The file's content."""

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, i: int) -> str:
        """Path of image i inside the container."""
        return self._keys[i]

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        key = self._keys[i]
        try:
            image = pixels.decode(self._bytes(key), self.channels)
        except (DataError, OSError, zipfile.BadZipFile, RuntimeError) as error:
            raise DataError(f"{key}: {error}") from error
        return Sample(key, image, self._labels_of(key))

    def report(self) -> None:
        """Log what was left aside and which images the label table does not know."""
        if self.others:
            log.info("%s: left aside %s", self.input, _listed(self.others))
        if self._labels and (missing := sum(not self._row(key) for key in self._keys)):
            log.warning("%s: %d images have no row in %s", self.input, missing, LABELS)

    def _labels_of(self, key: str) -> dict[str, Label]:
        row = self._row(key) or {}
        return {name: row.get(name) for name in self.label_names}

    def _row(self, key: str) -> dict[str, Label] | None:
        """The table's row for an image, named from root or table's folder, or by file name."""
        if not self._labels:
            return None
        path = PurePosixPath(key)
        names = [key, path.name]
        if path.is_relative_to(self._table_folder):
            names.insert(1, str(path.relative_to(self._table_folder)))
        return next((self._labels[name] for name in names if name in self._labels), None)


class Folder(Files):
    """Image files in a folder and the folders below it, links followed."""

    name = "folder"

    def _sizes(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        seen: set[str] = set()
        for root, folders, names in os.walk(self.input, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:  # a link that leads back up
                folders.clear()
                continue
            seen.add(real)
            for name in names:
                path = Path(root, name)
                if path.is_file():
                    found[path.relative_to(self.input).as_posix()] = path.stat().st_size
        return found

    def _bytes(self, name: str) -> bytes:
        return Path(self.input, name).read_bytes()


class Zip(Files):
    """Image files in a zip."""

    name = "zip"

    def _sizes(self) -> Mapping[str, int]:
        try:
            self._zip = zipfile.ZipFile(self.input)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.input} cannot be read as a zip: {error}") from error
        return {info.filename: info.file_size for info in self._zip.infolist() if not info.is_dir()}

    def _bytes(self, name: str) -> bytes:
        return self._zip.read(name)


class Tar(Files):
    """Image files in an uncompressed tar, read in place."""

    name = "tar"

    def _sizes(self) -> Mapping[str, int]:
        self._members = {member.name: member for member in tars.members(Path(self.input))}
        self._file = open(self.input, "rb")  # noqa: SIM115 - open as long as the source is
        return {name: member.size for name, member in self._members.items()}

    def _bytes(self, name: str) -> bytes:
        member = self._members[name]
        return os.pread(self._file.fileno(), member.size, member.offset)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _hidden(name: str) -> bool:
    """Whether a file is the desktop's and not the user's: .DS_Store, ._x.jpg, __MACOSX/x.jpg."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") and part != "." for part in parts)


def _listed(others: Counter[str]) -> str:
    return ", ".join(f"{n} {suffix or 'unnamed'} files" for suffix, n in others.most_common(8))


def _read_labels(where: str, text: bytes) -> tuple[tuple[str, ...], dict[str, dict[str, Label]]]:
    """A CSV with a header -> label names, and per file name its labels."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text.decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} cannot be read as UTF-8 CSV: {error}") from error
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise DataError(f"{where} needs a first line with distinct column names")
    header, body = rows[0], rows[1:]
    for line, row in enumerate(body, 2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {line} has {len(row)} columns, the header {len(header)}")
    columns = [_column([row[c] for row in body]) for c in range(1, len(header))]
    table = {
        row[0]: {name: column[r] for name, column in zip(header[1:], columns, strict=True)}
        for r, row in enumerate(body)
    }
    return tuple(header[1:]), table


def _column(cells: list[str]) -> list[Label]:
    """Numbers where every cell that is not empty is one, else text; empty cells are None."""
    try:
        numbers: list[Label] = [float(cell) if cell.strip() else None for cell in cells]
        if all(number is None or math.isfinite(float(number)) for number in numbers):
            return numbers
    except ValueError:
        pass
    return [cell.strip() or None for cell in cells]
