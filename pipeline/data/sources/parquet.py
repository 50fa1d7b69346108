"""Parquet files as Hugging Face hands out sets of images: one column of them, labels beside it.

The images' column holds {bytes, path}; the other columns of numbers and text become labels, a
ClassLabel by the name of its class. Files named train, validation or test, with a number or
without, or in folders of those names, belong to those splits; `parquet_names` says where.
"""

import hashlib
import importlib
from bisect import bisect_right
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any

from pipeline.data.decoding import decode
from pipeline.data.format.types import Label
from pipeline.data.signatures import stand_in
from pipeline.data.sources.arrow import as_text, classes_of, is_label, label_of
from pipeline.data.sources.containers import FolderOfFiles, beginning, is_tar_name
from pipeline.data.sources.digest import digest_of
from pipeline.data.sources.left_aside import hidden, suffix_of
from pipeline.data.sources.parquet_names import PLACES, configs_of, is_partial, is_test
from pipeline.data.sources.pictures import SUFFIXES
from pipeline.data.sources.reach import is_out_of_reach, unreachable
from pipeline.data.sources.source import Options, Sample, Source, needed
from pipeline.data.sources.tables import ARROW
from pipeline.data.sources.unused_labels import leave_rest
from stylealae.errors import DataError

__all__ = ["Parquet"]

ONLY_A_PATH = "has 0 bytes of an image and only its path, {}: export it with embedded images"
CONFIGS = 20  # that an error names


class Parquet(Source):
    """The rows of all files, those for training first, file by file."""

    name = "parquet"

    def __init__(self, input: str, options: Options) -> None:
        """Read the footers and the columns of labels."""
        super().__init__(input, options)
        arrow, parquet = needed("pyarrow", "Parquet"), needed("pyarrow.parquet", "Parquet")
        self._errors = (DataError, OSError, arrow.ArrowException)
        self._paths = sorted(self.listed(), key=lambda path: (is_test(self.within(path)), path))
        if not self._paths:
            raise DataError(f"{input} holds no Parquet files: looked for *.parquet")
        names = list(map(self.within, self._paths))
        self._require_one_config(names)
        self._stems = _stems(names)
        try:
            self._files = [parquet.ParquetFile(self.opened(p)) for p in self._paths]
            schema = self._files[0].schema_arrow
            self._column = _image_column(input, self._files[0], arrow.types)
            schemas = [file.schema_arrow for file in self._files]
            self._classes = [classes_of(schema) | classes_of(s) for s in schemas]
            labels = [f.name for f in schema if is_label(arrow.types, f.type)]
            labels = [name for name in labels if name != self._column]
            for path, file in zip(self._paths, self._files, strict=True):
                _require_columns(path, file, [self._column, *labels])
            tables = [file.read(columns=labels) for file in self._files]
            columns = [{name: table.column(name) for name in labels} for table in tables]
        except (OSError, KeyError, ValueError, arrow.ArrowException) as error:
            said = next((said for p in self._paths if (said := stand_in(self.beginning(p)))), "")
            raise DataError(
                f"{input} cannot be read as Parquet: {said or f'{error}; fetch it again'}"
            ) from error
        self.label_names = tuple(
            name for name in labels if any(len(c[name]) > c[name].null_count for c in columns)
        )
        self._labels = columns
        self._texts = self._read_as_text()
        every = dict.fromkeys(name for s in schemas for name in s.names)
        if later := [name for name in every if name not in schema.names]:
            self.notes.append(
                f"{input}: {', '.join(later)} is not used: {self._paths[0].name} has no such column"
            )
        unused = [f.name for f in schema if f.name not in (self._column, *self.label_names)]
        if unused:
            self.notes.append(
                f"{input}: {', '.join(unused)} is not used: neither numbers nor text, or empty"
            )
        if partial := sorted({str(name.parent) for name in names if is_partial(name)}):
            self.notes.append(
                f"{input}: the hub has converted the beginning alone of {', '.join(partial)}"
            )
        self.leave_rest()
        self._groups = [_group_ends(file.metadata) for file in self._files]
        self._counts = [ends[-1] if ends else 0 for ends in self._groups]
        self._ends = list(accumulate(self._counts))
        if not self._ends[-1]:
            raise DataError(f"{input} has no rows: fetch it again, or export it anew")
        self._column_of_group = lru_cache(maxsize=1)(self._read_group)

    def listed(self) -> list[PurePath]:
        """The Parquet files of the input, links followed; none that is hidden."""
        path = Path(self.input)
        if path.is_file():
            return [path]
        names = FolderOfFiles(self.input).sizes
        return [path / name for name in names if name.endswith(".parquet") and not hidden(name)]

    def within(self, path: PurePath) -> PurePath:
        """The name of a file in the input."""
        return PurePath(path.name) if path == Path(self.input) else path.relative_to(self.input)

    def below(self, folder: str) -> str:
        """What to give in place of the input, to have a folder of it alone."""
        return str(Path(self.input, folder))

    def opened(self, path: PurePath) -> object:
        """What pyarrow reads a file from."""
        return path

    def beginning(self, path: PurePath) -> bytes:
        """The first bytes of a file."""
        return beginning(Path(path))

    def leave_rest(self) -> None:
        """Note the files that are not Parquet."""
        leave_rest(self, Path(self.input), map(Path, self._paths))

    @cached_property
    def fingerprint(self) -> str:
        """Of the names of the files and of parts of them."""
        found = hashlib.sha256()
        for path, ends in zip(map(Path, self._paths), self._groups, strict=True):
            size = path.stat().st_size
            found.update(f"{path.name}\0{size}\0{ends}\n".encode())
            with path.open("rb") as file:
                found.update(digest_of(file.fileno(), 0, size))
        return found.hexdigest()

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a Parquet file, or a folder with some where Hugging Face puts them."""
        if path.is_file():
            return path.suffix == ".parquet"
        if ARROW in entries or any(map(is_tar_name, entries)):
            return False  # a table of the images beside it, as img2dataset puts beside its tars
        found = (sorted(path.glob(f"{place}*.parquet")) for place in PLACES)
        firsts = (next((f for f in files if not hidden(f.name)), None) for files in found)
        return any(not _is_table(first, path) for first in firsts if first is not None)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def tests(self) -> int | None:
        """The rows of files for validation and tests; unsaid if all are, or none."""
        pairs = zip(map(self.within, self._paths), self._counts, strict=True)
        tests = sum(rows for name, rows in pairs if is_test(name))
        return tests if 0 < tests < len(self) else None

    def key(self, i: int) -> str:
        """Name of the file, with its folders if others are called so, and number of the row."""
        file, row = self._place(i)
        return f"{self._stems[file]}/{row:08d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        file, row = self._place(i)
        try:
            image, changes = decode(self._bytes(file, row), self.channels)
        except self._errors as error:
            if isinstance(error, OSError) and is_out_of_reach(error):
                raise unreachable(self.key(i), error) from error
            raise DataError(f"{self.key(i)}: {error}") from error
        labels = {name: self._label(file, row, name) for name in self.label_names}
        return Sample(self.key(i), image, labels, changes)

    def _require_one_config(self, names: Sequence[PurePath]) -> None:
        """Refuses several data sets in one folder, whose images are others, or the same again."""
        found = configs_of(names)
        if len(found) > 1:
            listed = ", ".join(found[:CONFIGS]) + (", ..." if found[CONFIGS:] else "")
            raise DataError(
                f"{self.input} holds {len(found)} data sets, as the hub's configs are, in the "
                f"folders {listed}: give one of them, as {self.below(found[-1])}"
            )

    def _place(self, i: int) -> tuple[int, int]:
        """The file that holds row i of all, and its number there."""
        file = bisect_right(self._ends, i)
        return file, i - self._ends[file] + self._counts[file]

    def _bytes(self, file: int, row: int) -> bytes:
        """The encoded image; a group of rows is kept, for the next ones lie in it."""
        group = bisect_right(self._groups[file], row)
        first = self._groups[file][group - 1] if group else 0
        found = self._column_of_group(file, group)[row - first].as_py()
        if isinstance(found, dict):
            data, path = found.get("bytes"), found.get("path")
            if data is None and path:
                raise DataError(f"it {ONLY_A_PATH.format(path)}")
        else:
            data = found
        return data or b""

    def _read_group(self, file: int, group: int) -> Any:
        return self._files[file].read_row_group(group, columns=[self._column]).column(0)

    def _label(self, file: int, row: int, name: str) -> Label:
        value = self._labels[file][name][row].as_py()
        classes = self._classes[file].get(name)
        if name not in self._texts or classes is not None:
            return label_of(value, classes)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        found = label_of(value)
        return str(value) if isinstance(found, float) else found

    def _read_as_text(self) -> set[str]:
        """The labels whose values are texts in all files, which is said."""
        found = set()
        for name in self.label_names:
            classes = [known.get(name) for known in self._classes]
            columns = [columns[name] for columns in self._labels]
            if why := as_text(columns, classes):
                found.add(name)
                self.notes.append(f"{self.input}: {name} is read as text, for {why}")
            if any(_beyond(c, names) for c, names in zip(columns, classes, strict=True)):
                self.notes.append(
                    f"{self.input}: {name} has numbers beyond its classes, taken as unknown"
                )
        return found


def _stems(names: Sequence[PurePath]) -> list[str]:
    """What files are called in keys: their stems if these differ, else their paths."""
    stems = [name.stem for name in names]
    paths = [name.with_suffix("").as_posix() for name in names]
    return stems if len(set(stems)) == len(stems) else paths


def _is_table(file: Path, folder: Path) -> bool:
    """Whether a Parquet file holds no images, and image files lie in its folder or below."""
    try:
        schema = importlib.import_module("pyarrow.parquet").read_schema(file)
        types = importlib.import_module("pyarrow").types
    except (ImportError, OSError, ValueError):
        return False  # which is told when it is opened
    if any(_holds_bytes(types, field.type) for field in schema):
        return False
    return any(suffix_of(n) in SUFFIXES and not hidden(n) for n in FolderOfFiles(str(folder)).sizes)


def _holds_bytes(types: Any, kind: Any) -> bool:
    return _is_binary(types, kind) or (types.is_struct(kind) and "bytes" in _parts(kind))


def _group_ends(metadata: Any) -> list[int]:
    """For each group of rows the number of rows up to its end."""
    groups = (metadata.row_group(g) for g in range(metadata.num_row_groups))
    return list(accumulate(int(group.num_rows) for group in groups))


def _require_columns(path: PurePath, file: Any, names: Sequence[str]) -> None:
    """Refuses a file that is not of the same data set as the first."""
    if missing := sorted(set(names).difference(file.schema_arrow.names)):
        raise DataError(
            f"{path} has no column {', '.join(missing)}, and the files before it have: they are "
            "not of one data set; give its files alone"
        )


def _image_column(input: str, file: Any, types: Any) -> str:
    """The first column whose values have a part named `bytes`, else the first of bytes."""
    schema = file.schema_arrow
    structs = [f.name for f in schema if types.is_struct(f.type) and "bytes" in _parts(f.type)]
    binaries = [f.name for f in schema if _is_binary(types, f.type)]
    for name in (*structs, *binaries):
        if file.num_row_groups == 0:
            return str(name)
        known = [value for value in _first_values(file, name) if value is not None]
        paths = [value.get("path") for value in known if name in structs]
        if paths and all(paths) and all(value["bytes"] is None for value in known):
            raise DataError(f"{input}: {name} {ONLY_A_PATH.format(paths[0])}")
        return str(name)
    for field in schema:
        first = next((v for v in _first_values(file, field.name) if isinstance(v, str)), "")
        if suffix_of(first) in SUFFIXES:
            raise DataError(f"{input}: {field.name} {ONLY_A_PATH.format(first)}")
    raise DataError(
        f"{input} has the columns {', '.join(schema.names)}, and none of them holds images as "
        "{bytes, path}: export the dataset with embedded images, or, if images lie beside it, give "
        "--source folder"
    )


def _beyond(column: Any, names: list[str] | None) -> bool:
    """Whether a column of numbers of classes has some without a name; -1 is unlabelled."""
    if names is None:
        return False
    return any(isinstance(v, int) and v >= len(names) for v in column.unique().to_pylist())


def _first_values(file: Any, column: str) -> list[Any]:
    """The first values of a column, of the first group of rows alone: all are read ahead."""
    groups = range(min(1, file.num_row_groups))
    batch = next(file.iter_batches(batch_size=8, columns=[column], row_groups=groups), None)
    return [] if batch is None else list(batch.column(0).to_pylist())


def _parts(kind: Any) -> set[str]:
    return {part.name for part in kind}


def _is_binary(types: Any, kind: Any) -> bool:
    checks = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    views = getattr(types, "is_binary_view", None)  # younger than the oldest pyarrow
    return any(check(kind) for check in checks) or (views is not None and views(kind))
