"""Image files in a folder, a zip or tars, sorted by name, with tables of labels."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Self

from pipeline.data.decoding import decode
from pipeline.data.pixels import Pixels
from pipeline.data.sources.advice import advice
from pipeline.data.sources.containers import (
    Container,
    ZipOfFiles,
    open_container,
)
from pipeline.data.sources.folders import (
    classes_told,
    labels_by_folder,
    split_folders,
    tests_told,
)
from pipeline.data.sources.labels import Labels, joined, labels_of
from pipeline.data.sources.left_aside import hidden, suffix_of
from pipeline.data.sources.masks import masks_told
from pipeline.data.sources.names import Names
from pipeline.data.sources.pictures import SUFFIXES
from pipeline.data.sources.sheet import Sheet
from pipeline.data.sources.sidecars import labels_beside
from pipeline.data.sources.source import Options, Sample, Source, with_state
from pipeline.data.sources.tables import is_table, read_table
from pipeline.data.sources.unused_labels import (
    beside_images,
    maybe_tables,
    named,
    tables_nearby,
    told_beside,
)
from pipeline.data.sources.zip_names import forms
from stylealae.errors import DataError

__all__ = ["Files"]

LABELS = "labels.csv"
EXPECTED = (LABELS, "labels.json", "metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Tables of labels by their very names: one that cannot be read or names no image is an error."""

OF_THE_WHOLE = ("_digests", "_names", "copies", "fingerprint", "left_aside", "notes", "used")
"""Attributes that a part does without."""

ANSWER = "submission"
"""What the names of tables hold that name images beside made-up or guessed labels."""


class Files(Source):
    """Image files of a container; other files are left aside and reported."""

    takes_labels = True
    takes_sidecars = False
    """Whether files beside an image, by its name, are its labels."""
    container: Callable[[str], Container] = staticmethod(open_container)
    _begin: int | None = None
    """Of a part: the number of its first image."""

    def __init__(self, input: str, options: Options) -> None:
        """List the images and read what is known about them."""
        super().__init__(input, options)
        self.files = self.container(input)
        if isinstance(self.files, ZipOfFiles) and self.files.names_guessed:
            self.notes.append(self._named())
        names = [name for name in self.files.sizes if not hidden(name)]
        images = [name for name in names if suffix_of(name) in SUFFIXES]
        self._keys = self.chosen(images)
        self.left_aside.add_all(self.files.left_aside)
        self.left_aside.add("hidden files", (name for name in self.files.sizes if hidden(name)))
        self.left_aside.add("images of another kind", set(images).difference(self._keys))
        others = [name for name in names if suffix_of(name) not in SUFFIXES]
        if not self._keys:
            self.left_aside.add_by_suffix(others)
            raise DataError(
                f"{input} holds no images: looked for {' '.join(sorted(SUFFIXES))}, found "
                f"{self.left_aside or 'no files at all'}{advice(others, SUFFIXES)}"
            )
        self._names = Names(self._keys, str(Path(input).absolute()))
        if together := split_folders(self._keys):
            self.notes.append(
                f"{input}: {', '.join(together)} are taken as one set, and the images for tests "
                "from its end: prepare them one by one to keep them apart"
            )
        if told := tests_told(input, self._keys, self.splits.get("test", range(0))):
            self.notes.append(told)
        if told := masks_told(input, self._keys):
            self.notes.append(told)
        self.used: set[str] = set()  # files that are no images
        self.labels = self.read_labels(others)
        self.label_names = self.labels.names
        self.notes.extend(self.labels.notes)
        self._leave_what_may_be_labels(others)
        self.left_aside.add_by_suffix(set(others) - self.used)

    def part(self, start: int, stop: int) -> Self:
        """What is known of some images, and where they lie: nothing is listed to read them."""
        keys = self._keys[start:stop]
        rows = {key: row for key in keys if (row := self.labels.rows.get(key)) is not None}
        state = {name: value for name, value in vars(self).items() if name not in OF_THE_WHOLE}
        state |= {"_keys": keys, "_begin": start, "files": self.files.part(keys)}
        return with_state(type(self), state | {"labels": Labels(self.labels.names, rows)})

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """How it was opened; of a part, what it knows."""
        return (
            super().__reduce__() if self._begin is None else (with_state, (type(self), vars(self)))
        )

    @cached_property
    def fingerprint(self) -> str:
        """Of the names, contents and labels of all images."""
        found = hashlib.sha256(json.dumps(self.label_names).encode())
        for key in self._keys:
            what = f"{key}\0{self.files.sizes[key]}\0{json.dumps(self.labels.rows.get(key))}\n"
            found.update(what.encode("utf-8", "surrogateescape"))
            found.update(self._digests[key])
        return found.hexdigest()

    @cached_property
    def copies(self) -> dict[str, str]:
        """Images whose files have the size and digest of an earlier one's, and that one."""
        first: dict[tuple[int, bytes], str] = {}
        found = {}
        for key, digest in self._digests.items():
            other = first.setdefault((self.files.sizes[key], digest), key)
            if other != key and digest:
                found[key] = other
        return found

    @cached_property
    def _digests(self) -> dict[str, bytes]:
        return {key: self.files.digest(key) for key in self._keys}

    def chosen(self, images: list[str]) -> list[str]:
        """Which of the image files to take, in order."""
        return sorted(images)

    def read_labels(self, others: Sequence[str]) -> Labels:
        """The table given, else those inside, else the one beside a zip or tar.

        `others` are the files that are no images; what is used of them goes into `used`.
        """
        inside = sorted(
            (name for name in others if is_table(name)),
            key=lambda name: (name.count("/"), name),
        )
        if self.options.labels is not None:
            given = Path(self.options.labels)
            with suppress(ValueError):  # it lies elsewhere
                own = given.resolve().relative_to(Path(self.input).resolve())
                self.used.add(own.as_posix())
            return self.matched(_sheet(given))
        tables = [found for name in inside if (found := self._table_inside(name))]
        if self.takes_sidecars:
            tables.append((self.input, labels_beside(self.files, self._keys, others, self.used)))
        whole = Path(self.input).absolute()
        if nearby := [path for path in tables_nearby(whole) if path not in self._tables_beside()]:
            self.notes.append(f"{named([*map(str, nearby)])} is not used: name it with --labels")
        for beside in self._tables_beside():
            if inside or whole.is_dir():
                self.notes.append(f"{beside} is not used: name it with --labels")
            elif table := labels_of(_sheet(beside), self._names):
                tables.append((str(beside), table))
            else:
                self.notes.append(f"{beside} knows no image of {self.input} and is left aside")
        return self.joined(tables)

    def matched(self, sheet: Sheet, *, stems: bool = True) -> Labels:
        """The labels of a table that is to name images; `stems` as for `labels_of`."""
        table = labels_of(sheet, self._names, stems=stems)
        if table is None:
            raise self._unknown(sheet)
        return self.joined([(sheet.where, table)])

    def joined(self, tables: Sequence[tuple[str, Labels]]) -> Labels:
        """The labels of all tables together, with notes of what is missing in them."""
        if self.options.folder_labels:
            tables = [*tables, (self.input, labels_by_folder(self.input, self._keys))]
        elif not any(table.names for _, table in tables) and (
            told := classes_told(self.input, self._keys)
        ):
            self.notes.append(told)
        for where, table in tables:
            if table.rows and not table.names:
                self.notes.append(f"{where} names images and has no column of labels")
            if table.rest:
                self.notes.append(f"{where}: {table.rest:,} rows name no image")
        found = joined(tables)
        unknown = sum(key not in found.rows for key in self._keys) if found.names else 0
        if unknown:
            self.notes.append(f"{unknown:,} images have no row in the table of labels")
        return found

    def _table_inside(self, name: str) -> tuple[str, Labels] | None:
        """Where a table of the input is, and its labels; None, and a note, if it is none."""
        where = f"{self.input}: {name}"
        expected = PurePosixPath(name).name in EXPECTED
        if ANSWER in PurePosixPath(name).name.lower():
            self._leave_table(name, f"{where} is an answer to Kaggle, or its example: not used")
            return None
        try:
            sheet = self._read_table(name)
        except DataError as error:
            if expected:
                raise
            self._leave_table(name, f"{error}; it is not used")
            return None
        base = PurePosixPath(name).parent.as_posix()
        table = labels_of(sheet, self._names, "" if base == "." else base, called=not expected)
        if table is None and expected:
            raise self._unknown(sheet)
        if table is None:
            self._leave_table(name, f"{where} names no image and is not used")
            return None
        self.used.add(name)
        return where, table

    def _read_table(self, name: str) -> Sheet:
        return read_table(
            f"{self.input}: {name}", self.files.sizes[name], lambda: self.files.opened(name)
        )

    def _named(self) -> str:
        """Reads names of a zip that do not say their alphabet as tables have them; how it did."""
        inside = [name for name in self.files.sizes if is_table(name) and not hidden(name)]
        outside = self.options.labels or next(map(str, self._tables_beside()), None)
        readers = [partial(self._read_table, name) for name in ([] if outside else inside)]
        said: set[str] = set()
        for read in [partial(_sheet, Path(outside))] if outside else readers:
            with suppress(DataError):  # which it is when it is read for its labels
                said.update(form for row in read().rows for text in row for form in forms(text))
        assert isinstance(self.files, ZipOfFiles)
        return self.files.name_as(said)

    def _tables_beside(self) -> list[Path]:
        """The tables beside the input that go by its name, or by that of all."""
        whole = Path(self.input).absolute()
        beside = (whole.parent / LABELS, whole.parent / f"{whole.stem}.csv")
        return [path for path in beside if path.is_file()]

    def _leave_table(self, table: str, why: str) -> None:
        self.used.add(table)
        self.left_aside.add("tables not used", [table])
        self.notes.append(why)

    def _leave_what_may_be_labels(self, others: Sequence[str]) -> None:
        """Tells of files that may hold labels and were not read."""
        rest = [name for name in others if name not in self.used]
        if beside := beside_images(rest, self._keys):
            self.used.update(beside)
            self.left_aside.add("files beside images not used", beside)
            self.notes.append(told_beside(self.input, beside))
        found = maybe_tables(self.files, set(rest).difference(beside), self._names)
        if found:
            self.used.update(found)
            self.left_aside.add("tables not used", found)
            self.notes.append(
                f"{named(found)}: not used, for --labels names another"
                if self.options.labels is not None
                else f"{self.input}: {named(found)} may hold labels and is not used: name it with "
                "--labels"
            )

    def _unknown(self, sheet: Sheet) -> DataError:
        row = ", ".join(sheet.rows[0])[:60] if sheet.rows else ""
        return DataError(
            f"{sheet.where}: the table of labels knows none of the {len(self)} images, such as "
            f"{self._keys[0]}; {f'its first row is {row}' if row else 'it has no rows'}: name them "
            "in a column, give another with --labels, or remove it"
        )

    def examine(self, key: str, data: bytes, image: Pixels) -> tuple[str, ...]:
        """What is remarkable about a file; DataError if it is not what the input says it is."""
        return ()

    def __len__(self) -> int:
        return len(self._keys) + (self._begin or 0)

    def key(self, i: int) -> str:
        """Path of image i inside the container."""
        return self._keys[i - (self._begin or 0)]

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i at its own size."""
        key = self.key(i)
        try:
            data = self.files.read(key)
            image, changes = decode(data, self.channels)
            changes += self.examine(key, data, image)
        except DataError as error:
            raise DataError(f"{key}: {error}") from error
        return Sample(key, image, self.labels.of(key), changes)

    def label_summary(self) -> dict[str, str]:
        """For each label what its values are, and how many images have one."""
        return self.labels.summary(self._keys)


def _sheet(path: Path) -> Sheet:
    """A table outside of the input."""
    try:
        return read_table(str(path), path.stat().st_size, lambda: path.open("rb"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from error
