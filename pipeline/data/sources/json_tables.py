"""Tables of labels in JSON: an object a line, a list of objects, or an object of images."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pipeline.data.sources.json_stream import JsonStream
from pipeline.data.sources.pictures import called_as_picture
from pipeline.data.sources.sheet import FILE_COLUMNS, Sheet, cell
from stylealae.errors import DataError

__all__ = ["distinct", "read_json", "read_long_json"]

MAX_ENTRIES, MAX_VALUES = 1_000_000, 9_000_000
"""Empty ones of a few bytes take a hundred times as much when they are read."""
MAX_TEXT = 256 << 20
"""Characters that the values of a long table have together."""
WANTED = "write a list of objects, one an image, with its file name and its labels"
Entry = dict[str, object]


def read_json(where: str, text: str) -> Sheet:
    """Lines as of Hugging Face's metadata.jsonl, `[{"file": ...}]`, or `{"a.jpg": {"age": 3}}`.

    What is nested in an entry is left aside.

    Raises:
        DataError: it is none of these.
    """
    _require_few(where, text, MAX_VALUES)
    entries = _lines(where, text) if text.startswith("{") else _listed(where, _parsed(where, text))
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    nested = {n for n in names if any(isinstance(e.get(n), dict | list) for e in entries)}
    flat = [name for name in names if name not in nested]
    rows = [[cell(entry.get(name)) for name in flat] for entry in entries]
    notes = tuple(f"{where}: {name} holds lists or objects, left aside" for name in sorted(nested))
    return Sheet(where, tuple(flat), rows, "\n", notes)


def read_long_json(where: str, stream: BinaryIO) -> Sheet:
    """As `read_json`, an entry at a time: what is nested is never held together.

    Raises:
        DataError: it is none of these, or its values are more than a table may have.
    """
    columns: dict[str, int] = {}
    nested: set[str] = set()
    rows: list[list[str]] = []
    cells = held = 0
    for entry in _entries(JsonStream(where, stream)):
        row = [""] * len(columns)
        for name, value in entry.items():
            if isinstance(value, dict | list):
                nested.add(name)
            if name in nested:
                continue
            if columns.setdefault(name, len(columns)) == len(row):
                row.append("")
            row[columns[name]] = text = sys.intern(cell(value))
            held += len(text)
        rows.append(row)
        cells += len(row)
        if len(rows) > MAX_ENTRIES or cells > MAX_VALUES or held > MAX_TEXT:
            raise DataError(
                f"{where} has more than {MAX_ENTRIES:,} objects, {MAX_VALUES:,} values or "
                f"{MAX_TEXT:,} characters of them: leave out columns, or split it"
            )
    kept = {name: c for name, c in columns.items() if name not in nested}
    whole = [[row[c] if c < len(row) else "" for c in kept.values()] for row in rows]
    notes = tuple(f"{where}: {name} holds lists or objects, left aside" for name in sorted(nested))
    return Sheet(where, tuple(kept), whole, "\n", notes)


def _entries(source: JsonStream) -> Iterator[Entry]:
    """The entries of a table in any of the three forms."""
    if source.peek() == "{" and not source.is_whole():
        for name, value in source.members():
            yield {"file": name, **(value if isinstance(value, dict) else {"label": value})}
        return
    for value in source.elements() if source.peek() == "[" else source.values():
        if not isinstance(value, dict):
            raise DataError(f"{source.where} is JSON, and no list of objects: {WANTED}")
        yield value


def _require_few(where: str, text: str, values: int) -> None:
    if max(map(text.count, "{[")) > MAX_ENTRIES or max(map(text.count, ",:")) > values:
        raise DataError(
            f"{where} has more than {MAX_ENTRIES:,} objects or {values:,} values: split it"
        )


def _lines(where: str, text: str) -> list[Entry]:
    """An object a line, or all lines one object of images by their names."""
    found: list[Entry] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line, object_pairs_hook=distinct)
        except (ValueError, RecursionError) as error:
            if not found and isinstance(whole := _parsed(where, text, number), dict):
                return _by_name(whole)
            raise DataError(f"{where}: line {number} is no JSON ({error})") from error
        if not isinstance(entry, dict):
            raise DataError(f"{where}: line {number} is no object with a name for each value")
        found.append(entry)
    return _by_name(found[0]) if len(found) == 1 else found


def _listed(where: str, whole: object) -> list[Entry]:
    entries = (
        [entry for entry in whole if isinstance(entry, dict)] if isinstance(whole, list) else []
    )
    if not isinstance(whole, list) or len(entries) < len(whole):
        raise DataError(f"{where} is JSON, and no list of objects: {WANTED}")
    return entries


def _by_name(whole: Entry) -> list[Entry]:
    """Objects, or values called `label`, by the names of images; an entry of one image as it is."""
    values = [value for value in whole.values() if isinstance(value, str)]
    by_name = any(map(called_as_picture, whole)) or not any(map(called_as_picture, values))
    if not by_name or not FILE_COLUMNS.isdisjoint(name.lower() for name in whole):
        return [whole]
    return [
        {"file": name, **(value if isinstance(value, dict) else {"label": value})}
        for name, value in whole.items()
    ]


def distinct(pairs: Sequence[tuple[str, object]]) -> Entry:
    """An object; ValueError if it says two things by one name, of which one would be lost."""
    found: Entry = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise ValueError(f"{name} stands twice in one object")
        found[name] = value
    return found


def _parsed(where: str, text: str, line: int = 1) -> object:
    """The one value that a text is, which is held with all it holds."""
    _require_few(where, text, MAX_VALUES // 4)
    try:
        return json.loads(text, object_pairs_hook=distinct)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: line {line} is no JSON, nor is all of it ({error})") from error
