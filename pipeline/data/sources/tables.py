"""Tables of labels as people keep them: CSV, lines of JSON, Parquet, CelebA's lists."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.data.format.types import Label
from pipeline.data.sources.arrow import classes_of, is_label, label_of
from pipeline.data.sources.source import needed
from stylealae.errors import DataError

__all__ = ["Sheet", "column", "is_table", "read_sheet", "require_table_size"]

MAX_BYTES = 64 << 20
"""A larger table is none of labels."""
MAX_CELLS = 20_000_000
"""A Parquet file of few bytes may say that it has any number."""
SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl")
ARROW = "metadata.parquet"
"""The one name by which Parquet is a table of the images beside it, as Hugging Face has it."""
DELIMITERS = ",;\t|"
UNKNOWN = {"", "nan", "<na>", "#n/a", "n/a", "null"}
"""Cells that say nothing, in lower case; in a column of numbers, those below too."""
NO_NUMBER = UNKNOWN | {"na", "none", "nil", "?", "-", "--", ".", "inf", "-inf", "+inf", "infinity"}
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+|[+-]?\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True)
class Sheet:
    """A table as text: a row an image."""

    where: str
    """The file, for people."""
    header: tuple[str, ...]
    """Names of the columns."""
    rows: Sequence[Sequence[str]]
    """As many cells each as the header has."""
    delimiter: str = ","
    """What stood between the cells; a comma in them is then part of a number, or is not."""
    notes: tuple[str, ...] = ()
    """What was left aside in reading it."""


def is_table(name: str) -> bool:
    """Whether a file is called as tables of labels are."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES or path.name == ARROW


def require_table_size(where: str, size: int) -> None:
    """Refuses a table that is too long to be read."""
    if size > MAX_BYTES:
        raise DataError(
            f"{where} has {size:,} bytes, more than the {MAX_BYTES:,} that a table of labels may "
            "have: leave out columns, or split the data set"
        )


def read_sheet(where: str, data: bytes) -> Sheet:
    """A CSV in any dialect, lines of JSON, Parquet, or a list as CelebA's; `where` names the file.

    Raises:
        DataError: it is none of them, or its rows have not the header's length.
    """
    require_table_size(where, len(data))
    if data.startswith(b"PAR1"):
        return _read_parquet(where, data)
    try:
        text = _text(data)
        first, _, rest = text.partition("\n")
        if first.strip().isdecimal():
            return _read_attributes(where, int(first), rest)
        if first.lstrip().startswith("{"):
            return _read_lines(where, text.splitlines())
        return _read_csv(where, text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{where} cannot be read as UTF-8 CSV: {error}; save it as UTF-8"
        ) from error


def column(cells: Sequence[str], delimiter: str = ",") -> list[Label]:
    """Numbers where every cell that says something is one, else text; the others are None."""
    plain = {cell: cell.strip() for cell in cells}  # few values in many cells
    said = [cell for cell in plain.values() if cell.lower() not in NO_NUMBER]
    numbers = _numbers(said, delimiter) if said else None
    known: dict[str, Label]
    if numbers is not None:
        values = dict(zip(said, numbers, strict=True))
        known = {cell: values.get(text) for cell, text in plain.items()}
    else:
        known = {c: None if text.lower() in UNKNOWN else text for c, text in plain.items()}
    return [known[cell] for cell in cells]


def _numbers(cells: Sequence[str], delimiter: str) -> list[float] | None:
    """The cells as finite numbers, also with decimal commas; None if one is none."""
    if any("_" in cell for cell in cells):  # 1_000 is a number to Python alone
        return None
    commas = [cell for cell in cells if "," in cell]
    if commas and all(_COMMA.fullmatch(cell) for cell in cells):
        if delimiter == "," and all(_THOUSANDS.fullmatch(cell) for cell in commas):
            return None  # 1,234 may be either
        cells = [cell.replace(".", "").replace(",", ".") for cell in cells]
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Excel saves Unicode text
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _read_csv(where: str, text: str) -> Sheet:
    """The cells between whichever delimiter gives all rows the header's length."""
    if stated := re.match(r"sep=(.)\r?\n", text):  # Excel's own
        text, delimiters = text[stated.end() :], stated[1]
    else:
        delimiters = DELIMITERS
    tables = {d: _cells(text, d) for d in delimiters if d in text or d == delimiters[0]}
    sound = [d for d, rows in tables.items() if _is_even(rows)]
    delimiter = max(sound or tables, key=lambda d: len(tables[d][0]) if tables[d] else 0)
    rows = tables[delimiter]
    header = tuple(name.strip() for name in rows[0]) if rows else ()
    if not rows or len(set(header)) != len(header):
        raise DataError(f"{where} needs a first line with distinct column names")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {line} has {len(row)} columns, the header {len(header)}")
    return Sheet(where, header, rows[1:], delimiter)


def _is_even(rows: Sequence[Sequence[str]]) -> bool:
    """Whether all rows are as long as the first, which has several cells."""
    return bool(rows) and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1


def _cells(text: str, delimiter: str) -> list[list[str]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [row for row in rows if any(cell.strip() for cell in row)]


def _read_lines(where: str, lines: Iterable[str]) -> Sheet:
    """An object of JSON a line, as Hugging Face's metadata.jsonl; what is nested is left aside."""
    found: list[dict[str, object]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: line {number} is no JSON ({error})") from error
        if not isinstance(entry, dict):
            raise DataError(f"{where}: line {number} is no object with a name for each value")
        found.append(entry)
    names = list(dict.fromkeys(name for entry in found for name in entry))
    nested = {n for n in names if any(isinstance(e.get(n), dict | list) for e in found)}
    flat = [name for name in names if name not in nested]
    rows = [[_cell(entry.get(name)) for name in flat] for entry in found]
    notes = tuple(f"{where}: {name} holds lists or objects, left aside" for name in sorted(nested))
    return Sheet(where, tuple(flat), rows, "\n", notes)


def _read_parquet(where: str, data: bytes) -> Sheet:
    """The columns of numbers, text and dates; the others are left aside."""
    arrow, parquet = needed("pyarrow", "Parquet"), needed("pyarrow.parquet", "Parquet")
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        schema, classes = file.schema_arrow, classes_of(file.schema_arrow)
        flat = [field.name for field in schema if is_label(arrow.types, field.type)]
        if (cells := file.metadata.num_rows * len(flat)) > MAX_CELLS:
            raise DataError(f"{where} has {cells:,} cells, more than {MAX_CELLS:,}: split it")
        texts = [f.name for f in schema if f.name in flat and "string" in str(f.type)]
        # As dictionaries: a text of many rows is held once.
        table = parquet.ParquetFile(arrow.BufferReader(data), read_dictionary=texts).read(flat)
        columns = [_cells_of(table.column(name), classes.get(name)) for name in flat]
    except (OSError, ValueError, KeyError, arrow.ArrowException) as error:
        raise DataError(f"{where} cannot be read as Parquet: {error}; fetch it again") from error
    others = [name for name in schema.names if name not in flat]
    notes = tuple(f"{where}: {name} holds neither numbers nor text, left aside" for name in others)
    return Sheet(where, tuple(flat), list(zip(*columns, strict=True)), "\n", notes)


def _cells_of(column: Any, classes: list[str] | None) -> list[str]:
    """The cells of a column of Arrow, as text."""
    encoded = column.combine_chunks().dictionary_encode() if column.num_chunks else column
    values = [_cell(label_of(value, classes)) for value in encoded.dictionary.to_pylist()]
    return ["" if k is None else values[k] for k in encoded.indices.to_pylist()]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read_attributes(where: str, count: int, text: str) -> Sheet:
    """The count, a line of names, then an image's file name and its -1 or 1 for each."""
    lines = [words for line in text.splitlines() if (words := line.split())]
    names, body = (tuple(lines[0]), lines[1:]) if lines else ((), [])
    if len(body) != count or any(len(words) != 1 + len(names) for words in body):
        raise DataError(
            f"{where} says that it lists {count} images with {len(names)} attributes each, and "
            f"{len(body)} lines follow, not all of that length: fetch it again"
        )
    return Sheet(where, ("file", *names), body, " ")
