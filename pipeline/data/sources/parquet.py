"""Parquet files as Hugging Face hands out sets of images: one column of them, labels beside it.

The images' column holds {bytes, path}; the other columns of numbers and text become labels, a
ClassLabel by the name of its class. Files named train, validation or test, with a number or
without, or in folders of those names, belong to those splits; `parquet_names` says where.
"""

import hashlib
import importlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any, Self

from pipeline.data.decoding import decode
from pipeline.data.format.types import Label
from pipeline.data.signatures import stand_in
from pipeline.data.sources.arrow import as_text, classes_of, is_label, label_of
from pipeline.data.sources.containers import FolderOfFiles, beginning, is_tar_name
from pipeline.data.sources.digest import digest_of
from pipeline.data.sources.left_aside import hidden, suffix_of
from pipeline.data.sources.parquet_columns import (
    ONLY_A_PATH,
    beyond,
    holds_bytes,
    image_column,
    require_columns,
)
from pipeline.data.sources.parquet_names import PLACES, configs_of, is_partial, is_test
from pipeline.data.sources.pictures import SUFFIXES
from pipeline.data.sources.reach import is_out_of_reach, unreachable
from pipeline.data.sources.source import Options, Sample, Source, needed, with_state
from pipeline.data.sources.tables import ARROW
from pipeline.data.sources.unused_labels import leave_rest
from stylealae.errors import DataError

__all__ = ["Parquet"]

OF_FILES = ("_paths", "_stems", "_classes", "_groups", "_counts", "_ends")
"""Attributes with an item a file."""
OF_THE_WHOLE = ("_column_of_group", "_file", "fingerprint", "left_aside", "notes")
"""Attributes that a part does without."""
OPEN = 64  # files of a set that are open at a time
CONFIGS = 20  # that an error names


class Parquet(Source):
    """The rows of all files, those for training first, file by file."""

    name = "parquet"
    _is_part = False

    def __init__(self, input: str, options: Options) -> None:
        """Read the footers and the columns of labels."""
        super().__init__(input, options)
        arrow = needed("pyarrow", "Parquet")
        self._errors = (DataError, OSError, arrow.ArrowException)
        self._paths = sorted(self.listed(), key=lambda path: (is_test(self.within(path)), path))
        if not self._paths:
            raise DataError(f"{input} holds no Parquet files: looked for *.parquet")
        names = list(map(self.within, self._paths))
        self._require_one_config(names)
        self._stems = _stems(names)
        try:
            first = self._opened(0)
            schema = first.schema_arrow
            self._column = image_column(input, first, arrow.types)
            labels = [f.name for f in schema if is_label(arrow.types, f.type)]
            labels = [name for name in labels if name != self._column]
            schemas, columns, self._groups = [], [], list[list[int]]()
            for number, path in enumerate(self._paths):
                file = first if number == 0 else self._opened(number)
                require_columns(path, file, [self._column, *labels])
                table = file.read(columns=labels)
                columns.append({name: table.column(name) for name in labels})
                schemas.append(file.schema_arrow)
                self._groups.append(_group_ends(file.metadata))
            self._classes = [classes_of(schema) | classes_of(s) for s in schemas]
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
        self._counts = [ends[-1] if ends else 0 for ends in self._groups]
        self._ends = list(accumulate(self._counts))
        if not self._ends[-1]:
            raise DataError(f"{input} has no rows: fetch it again, or export it anew")
        self._first_labels = [0] * len(columns)  # the row that each begins with

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

    def part(self, start: int, stop: int) -> Self:
        """The files that hold some images, opened when they are read, and the labels of these."""
        first, last = bisect_right(self._ends, start), bisect_right(self._ends, stop - 1)
        state = {name: value for name, value in vars(self).items() if name not in OF_THE_WHOLE}
        state |= {name: value[first : last + 1] for name, value in vars(self).items()
                  if name in OF_FILES}  # fmt: skip
        labels, begins = [], []
        for file in range(first, last + 1):
            above = self._ends[file] - self._counts[file]
            begin, end = max(start - above, 0), min(stop - above, self._counts[file])
            rows = list(range(begin, end))
            labels.append({name: self._labels[file][name].take(rows) for name in self.label_names})
            begins.append(begin)
        return with_state(
            type(self), state | {"_labels": labels, "_first_labels": begins, "_is_part": True}
        )

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """How it was opened; of a part, what it knows."""
        return (with_state, (type(self), vars(self))) if self._is_part else super().__reduce__()

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

    @cached_property
    def _column_of_group(self) -> Callable[[int, int], Any]:
        return lru_cache(maxsize=1)(self._read_group)

    def _read_group(self, file: int, group: int) -> Any:
        return self._file(file).read_row_group(group, columns=[self._column]).column(0)

    @cached_property
    def _file(self) -> Callable[[int], Any]:
        """The files, by their numbers, as long as they can be opened again."""
        return lru_cache(maxsize=OPEN)(self._opened_again)

    def _opened_again(self, number: int) -> Any:
        try:
            return self._opened(number)
        except self._errors as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            raise unreachable(str(self._paths[number]), reason) from error

    def _opened(self, number: int) -> Any:
        parquet = needed("pyarrow.parquet", "Parquet")
        return parquet.ParquetFile(self.opened(self._paths[number]))

    def _label(self, file: int, row: int, name: str) -> Label:
        value = self._labels[file][name][row - self._first_labels[file]].as_py()
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
            if any(beyond(c, names) for c, names in zip(columns, classes, strict=True)):
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
    if any(holds_bytes(types, field.type) for field in schema):
        return False
    return any(suffix_of(n) in SUFFIXES and not hidden(n) for n in FolderOfFiles(str(folder)).sizes)


def _group_ends(metadata: Any) -> list[int]:
    """For each group of rows the number of rows up to its end."""
    groups = (metadata.row_group(g) for g in range(metadata.num_row_groups))
    return list(accumulate(int(group.num_rows) for group in groups))
