"""Tables of labels as people keep them: CSV, lines of JSON, Parquet, CelebA's lists."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from pipeline.data.signatures import instead_of_table
from pipeline.data.sources.arrow import classes_of, is_label, label_of
from pipeline.data.sources.json_tables import read_json, read_long_json
from pipeline.data.sources.sheet import FILE_COLUMNS, Sheet, cell
from pipeline.data.sources.source import needed
from stylealae.errors import DataError

__all__ = ["ARROW", "is_table", "may_be_table", "read_sheet", "read_table"]

MAX_BYTES = 64 << 20
"""A larger table is none of labels, unless it is JSON, which may hold much else."""
MAX_JSON, LONG = 2 << 30, (".json", ".jsonl", ".ndjson")
"""Bytes of JSON that are read an entry at a time, and the endings by which it is known."""
MAX_CELLS = 20_000_000
"""A Parquet file of few bytes may say that it has any number."""
MAX_HELD = 9_000_000
"""Rows and cells of a table in text, which take 60 bytes each: CelebA's has 8.5 million."""
SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
JSON = ("labels.json", "metadata.json")
"""The names by which JSON is a table of images: most that lies beside them is something else."""
ARROW = "metadata.parquet"
"""The one name by which Parquet is a table of the images beside it, as Hugging Face has it."""
OTHER_SUFFIXES = (
    *(".txt", ".json", ".xml", ".xls", ".xlsx", ".ods", ".parquet", ".yaml", ".yml", ".psv"),
    *(".npy", ".npz", ".pkl", ".pickle", ".mat", ".h5", ".hdf5", ".pt", ".db", ".sqlite"),
    *(".dat", ".data", ".feather", ".arrow", ".rds", ".sav", ".dta", ""),
)
_CALLED = re.compile(
    r"(.*[._-])?(labels?|metadata|attributes?|annotations?|captions?|targets?)([._-].*)?"
    r"|list_\w+|identity_\w+"
)
"""Stems of what people call their labels, whatever the form."""
DELIMITERS = ",;\t|"


def is_table(name: str) -> bool:
    """Whether a file is called as tables of labels are."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES or path.name in (ARROW, *JSON)


def may_be_table(name: str) -> bool:
    """Whether a file is no table by `is_table`, but bears the name of one."""
    path = PurePosixPath(name.lower())
    known = path.suffix in OTHER_SUFFIXES and _CALLED.fullmatch(path.stem) is not None
    return known and not is_table(name)


def read_table(
    where: str, size: int, opened: Callable[[], AbstractContextManager[BinaryIO]]
) -> Sheet:
    """A table that `opened` opens; a long one of JSON is read an entry at a time.

    Raises:
        DataError: as `read_sheet`, or it is too long.
    """
    long = size > MAX_BYTES and PurePosixPath(where).suffix.lower() in LONG
    _require_size(where, size, MAX_JSON if long else MAX_BYTES)
    with opened() as stream:
        return read_long_json(where, stream) if long else read_sheet(where, stream.read(size))


def _require_size(where: str, size: int, most: int) -> None:
    if size > most:
        raise DataError(
            f"{where} has {size:,} bytes, more than the {most:,} that a table of labels may "
            "have: leave out columns, or split the data set"
        )


def read_sheet(where: str, data: bytes) -> Sheet:
    """A CSV in any dialect, JSON, Parquet, or a list as CelebA's; `where` names the file.

    Raises:
        DataError: it is none of them, or its rows have not the header's length.
    """
    _require_size(where, len(data), MAX_BYTES)
    if data.startswith(b"PAR1"):
        return _read_parquet(where, data)
    if said := instead_of_table(data[:4096]):
        raise DataError(f"{where} is no table of labels: {said}")
    try:
        text = _text(data)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} cannot be read as UTF-8 CSV: {error}; save it as UTF-8"
        ) from error
    if "\0" in text:
        raise DataError(f"{where} holds zero characters, as UTF-16 seems to: save it as UTF-8")
    first, _, rest = text.partition("\n")
    if first.strip().isdecimal():
        return _read_attributes(where, int(first), rest)
    if first.lstrip().startswith(("{", "[")):
        return read_json(where, text.lstrip())
    return _read_csv(where, text)


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return data.decode("utf-32")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Excel saves Unicode text
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _read_csv(where: str, text: str) -> Sheet:
    """The cells between whichever delimiter gives all rows the header's length."""
    if stated := re.match(r'"?sep=(.)"?\r?\n', text):  # Excel's own
        text, delimiters = text[stated.end() :], stated[1]
    else:
        delimiters = DELIMITERS
    used = [d for d in delimiters if d in text or d == delimiters[0]]
    _require_few(where, text.count("\n") + max(map(text.count, used)))
    looks = {d: _look(where, text, d) for d in used}
    sound = [d for d, look in looks.items() if look.even]
    delimiter = max(sound or looks, key=lambda d: looks[d].width)
    rows = list(_cells(text, delimiter, looks[delimiter].strict))
    if looks[delimiter].width == 1 and (spaced := _spaced(rows)):
        rows, delimiter = spaced, " "
    rows = _without_empty_ends(rows)
    header = tuple(name.strip() for name in rows[0]) if rows else ()
    if not header:
        raise DataError(f"{where} is empty: it needs a first line of column names, and rows")
    if twice := next((name for name in header if name and header.count(name) > 1), None):
        raise DataError(f"{where} has two columns named {twice}: give them distinct names")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise DataError(f"{where}: row {line} has {len(row)} columns, the header {len(header)}")
    return Sheet(where, header, rows[1:], delimiter)


class _Look(NamedTuple):
    """How a text looks with a delimiter between its cells."""

    width: int
    """Cells of the first row."""
    even: bool
    """Whether these are several, and all rows have as many."""
    strict: bool
    """Whether every quotation mark stands at the end of its cell."""


def _look(where: str, text: str, delimiter: str) -> _Look:
    """How it looks, without holding it; DataError where a quotation mark is not closed."""
    try:
        return _Look(*_widths(_cells(text, delimiter, True)), strict=True)
    except csv.Error as error:
        fault = str(error)  # without its frames, which hold the text
    try:
        if "unexpected end" not in fault:  # else what stands behind a mark does no harm
            return _Look(*_widths(_cells(text, delimiter, False)), strict=False)
    except csv.Error as error:
        fault = str(error)
    raise DataError(
        f"{where} cannot be read as CSV ({fault}): close every quotation mark, and double one that "
        "is part of a cell"
    )


def _widths(rows: Iterator[list[str]]) -> tuple[int, bool]:
    width = len(next(rows, ()))
    return width, all(len(row) == width for row in rows) and width > 1


def _cells(text: str, delimiter: str, strict: bool) -> Iterator[list[str]]:
    """The rows that hold anything."""
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)
    return (row for row in rows if any(text.strip() for text in row))


def _without_empty_ends(rows: Sequence[list[str]]) -> list[list[str]]:
    """The rows as far as any of them says something: spreadsheets write empty columns behind."""
    width = max((c for row in rows for c, text in enumerate(row, 1) if text.strip()), default=0)
    return [row[:width] for row in rows]


def _require_few(where: str, held: int) -> None:
    if held > MAX_HELD:
        raise DataError(f"{where} has {held:,} rows and cells, more than {MAX_HELD:,}: split it")


def _spaced(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The words of rows of one cell, if all have as many; empty if it is called as `file name`."""
    first = rows[0][0].split()
    if len(first) == 1 or rows[0][0].strip().lower() in FILE_COLUMNS:
        return []
    found = [row[0].split(None, len(first)) for row in rows]
    return found if all(len(words) == len(first) for words in found) else []


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
    values = [cell(label_of(value, classes)) for value in encoded.dictionary.to_pylist()]
    return ["" if k is None else values[k] for k in encoded.indices.to_pylist()]


def _read_attributes(where: str, count: int, text: str) -> Sheet:
    """The count, a line of names, then an image's file name and its -1 or 1 for each."""
    first, _, rest = text.lstrip().partition("\n")
    names = tuple(first.split(None, MAX_HELD))
    _require_few(where, (count + rest.count("\n")) // 2 * (2 + len(names)))
    body = [words for line in rest.splitlines() if (words := line.split(None, 1 + len(names)))]
    if len(body) != count or any(len(words) != 1 + len(names) for words in body):
        raise DataError(
            f"{where} says that it lists {count} images with {len(names)} attributes each, and "
            f"{len(body)} lines follow, not all of that length: fetch it again"
        )
    return Sheet(where, ("file", *names), body, " ")
