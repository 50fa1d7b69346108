"""What is known about the images of an input: tables matched with them, or vectors."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from pipeline.data.format.labels import written
from pipeline.data.format.types import Label
from pipeline.data.sources.column_remarks import is_number, remarks
from pipeline.data.sources.columns import column
from pipeline.data.sources.names import Names
from pipeline.data.sources.pictures import called_as_picture
from pipeline.data.sources.sheet import FILE_COLUMNS, Sheet
from stylealae.errors import DataError

__all__ = ["Labels", "Row", "joined", "labels_of", "vectors_of"]

Row = tuple[Label, ...]
SAMPLED = 1000  # rows in which a column of unknown name is looked at for the names of images


@dataclass(frozen=True)
class Labels:
    """What is known about images, by the name or number of each."""

    names: tuple[str, ...] = ()
    """Names of the labels: what a row holds, in order."""
    rows: Mapping[str, Row] = field(default_factory=dict)
    """An image's labels by its name."""
    notes: tuple[str, ...] = ()
    """What people should know of how they were read."""
    rest: int = 0
    """Rows of the table that name no image."""

    def of(self, key: str) -> dict[str, Label]:
        """An image's labels by their names; all None for an image that has no row."""
        row = self.rows.get(key) or (None,) * len(self.names)
        return dict(zip(self.names, row, strict=True))

    def summary(self, keys: Iterable[str]) -> dict[str, str]:
        """For each label what its values are, and how many of these images have one."""
        rows = [row for key in keys if (row := self.rows.get(key))]
        found = {}
        for k, name in enumerate(self.names):
            values = [row[k] for row in rows if row[k] is not None]
            texts = sum(isinstance(value, str) for value in values)
            kind = "texts" if texts else "numbers"
            found[name] = f"{kind} of {len(values):,} images"
        return found


def labels_of(
    sheet: Sheet, names: Names, base: str = "", *, stems: bool = True, called: bool = False
) -> Labels | None:
    """The labels of a table that lies in the folder `base`; None if it names no image.

    Without `stems`, a name without its ending, or with another one, is of no image; if `called`,
    it is of one only in a column that is called as those of file names are.

    Raises:
        DataError: a name means several images, an image has two rows that differ, or the first
            line is a row.
    """
    chosen = _file_column(sheet, names, base, stems, called)
    if chosen is None:
        return None
    called = called and sheet.header[chosen].lower() not in FILE_COLUMNS
    stems = stems and (not called or _holds_names(sheet, chosen))
    notes = list(sheet.notes)
    kept = [c for c, name in enumerate(sheet.header) if c != chosen and name]
    unnamed = [c for c, name in enumerate(sheet.header) if c != chosen and not name]
    if any(row[c].strip() for c in unnamed for row in sheet.rows):
        notes.append(f"{sheet.where}: a column without a name is left aside")
    columns = [column([row[c] for row in sheet.rows], sheet.delimiter) for c in kept]
    notes += [
        f"{sheet.where}: {sheet.header[c]} {said}"
        for c, values in zip(kept, columns, strict=True)
        for said in remarks(values, map(itemgetter(c), sheet.rows))
    ]
    given = list(zip(*columns, strict=True)) if columns else [()] * len(sheet.rows)
    rows: dict[str, Row] = {}
    rest: list[tuple[str, Row]] = []
    for cells, row in zip(sheet.rows, given, strict=True):
        key = _found(sheet, names.find, cells[chosen], base)
        if key is None:
            rest.append((cells[chosen], row))
        else:
            _add(sheet, rows, key, row)
    nearly: dict[str, Row] = {}
    for name, row in rest if stems else ():
        key = _found(sheet, names.find_by_stem, name, base)
        if key is not None and key not in rows:
            _add(sheet, nearly, key, row)
    _require_header(sheet, names, base, chosen, {*rows, *nearly} if stems else None)
    header = tuple(sheet.header[c] for c in kept)
    return Labels(header, rows | nearly, tuple(notes), len(rest) - len(nearly))


def joined(tables: Sequence[tuple[str, Labels]]) -> Labels:
    """The labels of several tables, each with where it is; DataError if two say different things.

    Raises:
        DataError: so, or a label that no image has a value of.
    """
    if len(tables) == 1:
        ((where, table),) = tables
        _require_values(where, table, _said(table))
        return table
    names = tuple(dict.fromkeys(name for _, table in tables for name in table.names))
    known: dict[str, dict[str, Label]] = {}
    for where, table in tables:
        for key, row in table.rows.items():
            mine = known.setdefault(key, {})
            for name, value in zip(table.names, row, strict=True):
                if value is not None and mine.setdefault(name, value) != value:
                    raise DataError(
                        f"{where} says that {name} of {key} is {value}, another table "
                        f"{mine[name]}: keep one, or name the right one with --labels"
                    )
    said = set().union(*(_said(table) for _, table in tables))
    for where, table in tables:
        _require_values(where, table, said)
    notes = [note for _, table in tables for note in table.notes]
    for name in names:
        values = [mine[name] for mine in known.values() if name in mine]
        if len({isinstance(value, str) for value in values}) > 1:
            notes.append(f"{name} is text in one table and numbers in another: read as text")
            for mine in known.values():
                if isinstance(value := mine.get(name), float):
                    mine[name] = written(value)
    rows = {key: tuple(mine.get(name) for name in names) for key, mine in known.items()}
    return Labels(names, rows, tuple(notes))


def _said(table: Labels) -> set[str]:
    """The labels of which an image has a value."""
    columns = zip(*table.rows.values(), strict=True)
    return {
        name
        for name, values in zip(table.names, columns, strict=False)
        if any(value is not None for value in values)
    }


def _require_values(where: str, table: Labels, said: set[str]) -> None:
    if empty := [name for name in table.names if name not in said]:
        raise DataError(
            f"{where}: no image has a value of {', '.join(empty)}: mend or remove that column"
        )


def vectors_of(keys: Sequence[str], vectors: NDArray[np.generic]) -> Labels:
    """Classes [N] or vectors [N, K]; those with a single 1 become the `class` that they mean."""
    if not np.isfinite(vectors).all():
        raise DataError("some of its labels are no finite numbers")
    if vectors.ndim == 2:
        one_hot = np.isin(vectors, (0, 1)).all() and (vectors.sum(axis=1) == 1).all()
        vectors = vectors.argmax(axis=1) if one_hot else vectors
    if vectors.ndim == 1:
        return Labels(("class",), {k: (float(v),) for k, v in zip(keys, vectors, strict=True)})
    names = tuple(f"label{k}" for k in range(vectors.shape[1]))
    return Labels(names, {k: tuple(v.tolist()) for k, v in zip(keys, vectors, strict=True)})


def _require_header(
    sheet: Sheet, names: Names, base: str, chosen: int, known: Collection[str] | None
) -> None:
    """Refuses a table whose first line is its first row.

    `known` are the images that have a row, where names without an ending are names too.
    """
    name = sheet.header[chosen]
    if not name or name.lower() in FILE_COLUMNS:
        return
    is_row = called_as_picture(name) or _found(sheet, names.find, name, base) is not None
    if known is not None and not is_row:
        image = _found(sheet, names.find_by_stem, name, base)
        is_row = name.isdecimal() or (image is not None and image not in known)
    if is_row:
        raise DataError(
            f"{sheet.where} begins with the row of {name}, and not with the names of its columns: "
            "write a line such as file,age above it"
        )


def _file_column(sheet: Sheet, names: Names, base: str, stems: bool, called_so: bool) -> int | None:
    """The column that names images: the first one, one that is called so, or any."""
    called = [c for c, name in enumerate(sheet.header) if name.lower() in FILE_COLUMNS]
    first = [0] if sheet.header and (sheet.header[0] or len(sheet.header) == 1) else []
    likely = list(dict.fromkeys([*first, *called]))
    loosely = [*called, *(c for c in first if not called_so or _holds_names(sheet, c))]
    others = [c for c in range(len(sheet.header)) if c not in likely]
    pictures = (c for c in (*called, *first, *others) if _holds_pictures(sheet, c))
    step = max(len(sheet.rows) // SAMPLED, 1)

    def matches(c: int, find: Callable[[str, str], str | None], step: int = 1) -> bool:
        rows = sheet.rows[::step]
        return any(_found(sheet, find, row[c], base) is not None for row in rows)

    return next(
        chain(
            (c for c in likely if matches(c, names.find)),
            (c for c in others if matches(c, names.find, step)),
            (c for c in pictures if stems and matches(c, names.find_by_stem, step)),
            (c for c in loosely if stems and matches(c, names.find_by_stem)),
        ),
        None,
    )


def _holds_pictures(sheet: Sheet, c: int) -> bool:
    """Whether a column holds names of image files, such as a.png."""
    step = max(len(sheet.rows) // SAMPLED, 1)
    return any(called_as_picture(row[c]) for row in sheet.rows[::step])


def _holds_names(sheet: Sheet, c: int) -> bool:
    """Whether a column holds what is no number, or names of image files."""
    step = max(len(sheet.rows) // SAMPLED, 1)
    numbers = any(is_number(row[c]) for row in sheet.rows[::step])
    return not numbers or _holds_pictures(sheet, c)


def _found(
    sheet: Sheet, find: Callable[[str, str], str | None], name: str, base: str
) -> str | None:
    try:
        return find(name, base)
    except DataError as error:
        raise DataError(f"{sheet.where}: {error}") from error


def _add(sheet: Sheet, rows: dict[str, Row], key: str, row: Row) -> None:
    if rows.setdefault(key, row) != row:
        raise DataError(f"{sheet.where} has two rows for {key}, and they differ: keep one")
