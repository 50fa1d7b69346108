"""Parquet files as Hugging Face hands out sets of images: one column of them, labels beside it.

The images' column holds {bytes, path}; the other columns of numbers and text become labels, a
ClassLabel by the name of its class. Files named train, validation or test, or in folders of those
names, belong to those splits.
"""

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from pipeline.data.decoding import decode
from pipeline.data.format.types import Label
from pipeline.data.sources.source import Options, Sample, Source, needed
from stylealae.errors import DataError

__all__ = ["Parquet"]


class Parquet(Source):
    """The rows of all files, those for training first, file by file."""

    name = "parquet"

    def __init__(self, input: str, options: Options) -> None:
        """Read the footers and the columns of labels."""
        super().__init__(input, options)
        arrow, parquet = needed("pyarrow", "Parquet"), needed("pyarrow.parquet", "Parquet")
        self._errors = (DataError, OSError, arrow.ArrowException)
        self._paths = sorted(_files(Path(input)), key=lambda path: (_is_test(path), path))
        if not self._paths:
            raise DataError(f"{input} holds no Parquet files: looked for *.parquet")
        try:
            self._files = [parquet.ParquetFile(path) for path in self._paths]
            schema = self._files[0].schema_arrow
            self._column = _image_column(input, schema, arrow.types.is_struct)
            self._classes = _classes(schema)
            self.label_names = tuple(f.name for f in schema if _is_label(arrow.types, f.type))
            self._labels = [file.read(columns=list(self.label_names)) for file in self._files]
        except (OSError, KeyError, ValueError, arrow.ArrowException) as error:
            raise DataError(
                f"{input} cannot be read as Parquet ({error}): fetch it again"
            ) from error
        self._groups = [_group_ends(file.metadata) for file in self._files]
        self._counts = [ends[-1] if ends else 0 for ends in self._groups]
        self._ends = list(accumulate(self._counts))
        self._column_of_group = lru_cache(maxsize=1)(self._read_group)
        digest = hashlib.sha256()
        for path, ends in zip(self._paths, self._groups, strict=True):
            digest.update(f"{path.name}\0{path.stat().st_size}\0{ends}\n".encode())
        self.fingerprint = digest.hexdigest()

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is a Parquet file, or a folder with some where Hugging Face puts them."""
        return (
            path.suffix == ".parquet"
            or any(name.endswith(".parquet") for name in entries)
            or any(path.glob("data/*.parquet"))
            or any(path.glob("*/train/*.parquet"))
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def tests(self) -> int | None:
        """The rows of files for validation and tests; unsaid if all are, or none."""
        pairs = zip(self._paths, self._counts, strict=True)
        tests = sum(rows for path, rows in pairs if _is_test(path))
        return tests if 0 < tests < len(self) else None

    def key(self, i: int) -> str:
        """Name of the file and number of the row."""
        file, row = self._place(i)
        return f"{self._paths[file].stem}/{row:08d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        file, row = self._place(i)
        try:
            image, changes = decode(self._bytes(file, row), self.channels)
        except self._errors as error:
            raise DataError(f"{self.key(i)}: {error}") from error
        labels = {name: self._label(file, row, name) for name in self.label_names}
        return Sample(self.key(i), image, labels, changes)

    def _place(self, i: int) -> tuple[int, int]:
        """The file that holds row i of all, and its number there."""
        file = bisect_right(self._ends, i)
        return file, i - self._ends[file] + self._counts[file]

    def _bytes(self, file: int, row: int) -> bytes:
        """The encoded image; a group of rows is kept, for the next ones lie in it."""
        group = bisect_right(self._groups[file], row)
        first = self._groups[file][group - 1] if group else 0
        found = self._column_of_group(file, group)[row - first].as_py()
        return (found or {}).get("bytes") or b""

    def _read_group(self, file: int, group: int) -> Any:
        return self._files[file].read_row_group(group, columns=[self._column]).column(0)

    def _label(self, file: int, row: int, name: str) -> Label:
        value = self._labels[file].column(name)[row].as_py()
        if name in self._classes and value is not None:
            classes = self._classes[name]
            return classes[value] if 0 <= value < len(classes) else None  # -1 is unlabelled
        return float(value) if isinstance(value, (bool, int)) else value


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.rglob("*.parquet"))


def _is_test(path: Path) -> bool:
    return re.match(r"test|val", path.name) is not None or path.parent.name in (
        "test", "val", "validation",
    )  # fmt: skip


def _group_ends(metadata: Any) -> list[int]:
    """For each group of rows the number of rows up to its end."""
    groups = (metadata.row_group(g) for g in range(metadata.num_row_groups))
    return list(accumulate(int(group.num_rows) for group in groups))


def _image_column(input: str, schema: Any, is_struct: Callable[[Any], bool]) -> str:
    """The first column whose values have a part named `bytes`."""
    for column in schema:
        if is_struct(column.type) and "bytes" in {part.name for part in column.type}:
            return str(column.name)
    raise DataError(
        f"{input} has the columns {', '.join(schema.names)}, and none of them holds images as "
        "{bytes, path}: export the dataset with embedded images"
    )


def _classes(schema: Any) -> dict[str, list[str]]:
    """The names of the classes of each ClassLabel column, from Hugging Face's note in the file."""
    note = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    columns: Iterable[tuple[str, Any]] = note.get("info", {}).get("features", {}).items()
    return {
        name: what["names"]
        for name, what in columns
        if isinstance(what, dict) and what.get("_type") == "ClassLabel"
    }


def _is_label(types: Any, kind: Any) -> bool:
    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_string)
    return any(check(kind) for check in checks)
