"""Tables of labels: CSV with a header, CelebA's attribute lists, and vectors without names."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.format.types import Label
from stylealae.errors import DataError

__all__ = ["Row", "Table", "read_table", "require_table_size", "table_of"]

Row = tuple[Label, ...]
MAX_BYTES = 64 << 20
"""A larger table is none of labels."""


@dataclass(frozen=True)
class Table:
    """What is known about images, by the name or number that the table gives them."""

    names: tuple[str, ...] = ()
    """Names of the labels: what a row holds, in order."""
    rows: Mapping[str, Row] = field(default_factory=dict)
    """An image's labels by its name."""

    def labels(self, row: Row | None) -> dict[str, Label]:
        """A row by label names; all None for an image that has no row."""
        return dict(zip(self.names, row or (None,) * len(self.names), strict=True))


def require_table_size(where: str, size: int) -> None:
    """Refuses a table that is too long to be read."""
    if size > MAX_BYTES:
        raise DataError(
            f"{where} has {size:,} bytes, more than the {MAX_BYTES:,} that a table of labels may "
            "have: leave out columns, or split the data set"
        )


def read_table(where: str, data: bytes) -> Table:
    """A CSV whose first column is the file name, or a list as CelebA's; `where` names the file."""
    require_table_size(where, len(data))
    try:
        text = data.decode("utf-8-sig")
        first, _, rest = text.partition("\n")
        if first.strip().isdecimal():
            return _read_attributes(where, int(first), rest)
        return _read_csv(where, [row for row in csv.reader(io.StringIO(text)) if row])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} cannot be read as UTF-8 CSV: {error}") from error


def table_of(keys: Sequence[str], vectors: NDArray[Any]) -> Table:
    """Classes [N] or vectors [N, K]; those with a single 1 become the `class` that they mean."""
    if vectors.ndim == 2:
        one_hot = np.isin(vectors, (0, 1)).all() and (vectors.sum(axis=1) == 1).all()
        vectors = vectors.argmax(axis=1) if one_hot else vectors
    if vectors.ndim == 1:
        return Table(("class",), {k: (float(v),) for k, v in zip(keys, vectors, strict=True)})
    names = tuple(f"label{k}" for k in range(vectors.shape[1]))
    return Table(names, {k: tuple(v.tolist()) for k, v in zip(keys, vectors, strict=True)})


def _read_csv(where: str, rows: list[list[str]]) -> Table:
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise DataError(f"{where} needs a first line with distinct column names")
    header, body = rows[0], rows[1:]
    for line, row in enumerate(body, 2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {line} has {len(row)} columns, the header {len(header)}")
    columns = [_column([row[c] for row in body]) for c in range(1, len(header))]
    values = zip(*columns, strict=True) if columns else ((),) * len(body)
    return Table(tuple(header[1:]), {row[0]: tuple(v) for row, v in zip(body, values, strict=True)})


def _read_attributes(where: str, count: int, text: str) -> Table:
    """The count, a line of names, then an image's file name and its -1 or 1 for each."""
    lines = [words for line in text.splitlines() if (words := line.split())]
    names, body = (tuple(lines[0]), lines[1:]) if lines else ((), [])
    if len(body) != count or any(len(words) != 1 + len(names) for words in body):
        raise DataError(
            f"{where} says that it lists {count} images with {len(names)} attributes each, and "
            f"{len(body)} lines follow, not all of that length: fetch it again"
        )
    known: dict[str, Label] = {}
    for words in body:
        known |= dict.fromkeys(words[1:])
    known = dict(zip(known, _column(list(known)), strict=True))  # two values, a million cells
    return Table(names, {words[0]: tuple(known[w] for w in words[1:]) for words in body})


def _column(cells: list[str]) -> list[Label]:
    """Numbers where every cell that is not empty is one, else text; empty cells are None."""
    try:
        numbers: list[Label] = [float(cell) if cell.strip() else None for cell in cells]
        if all(number is None or math.isfinite(float(number)) for number in numbers):
            return numbers
    except ValueError:
        pass
    return [cell.strip() or None for cell in cells]
