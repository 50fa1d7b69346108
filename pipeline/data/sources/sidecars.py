"""Labels beside an image, by its name: `.cls`, `.json` and `.txt`, as in shards of WebDataset.

00017.jpg   00017.json or 00017.jpg.json, also 00017.JSON
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from pipeline.data.format.labels import written
from pipeline.data.format.types import Label
from pipeline.data.sources.columns import is_code
from pipeline.data.sources.containers import Container
from pipeline.data.sources.labels import Labels, Row
from pipeline.data.sources.source import needed
from stylealae.errors import DataError

__all__ = ["labels_beside", "one_of_each_sample"]

ENDINGS = {"cls": "class", "json": "json", "txt": "text"}
"""Endings that are read, and the label that each is; an object of JSON has names of its own."""

SAMPLE = re.compile(r"((?:.*/|)[^.]+)[.][^/]*$")
"""A name up to its first point, as webdataset, which loads torch, splits it."""


def one_of_each_sample(images: Sequence[str], files: Collection[str]) -> list[str]:
    """The images, sorted; of several that share labels, such as a.jpg and a.mask.png, the first."""
    samples: dict[str, list[str]] = {}
    for image in sorted(images, key=lambda name: (name.count("."), name)):
        base = _sample(image)
        samples.setdefault(base, []).append(image)
    return sorted(
        image
        for base, together in samples.items()
        for image in (together[:1] if _sidecars(base, files) else together)
    )


def labels_beside(
    files: Container, keys: Sequence[str], others: Collection[str], used: set[str]
) -> Labels:
    """The labels in sidecars of images, which go into `used`.

    Raises:
        DataError: one cannot be read, or two say different things.
    """
    there = frozenset(others)
    values: dict[str, dict[str, Label]] = {}
    nested: set[str] = set()
    for key in keys:
        row = values.setdefault(key, {})
        for name, sidecar in (*_sidecars(_sample(key), there), *_sidecars(key, there)):
            used.add(sidecar)
            found = _read(files, sidecar)
            for label, value in (found if isinstance(found, dict) else {name: found}).items():
                if isinstance(value, dict | list):
                    nested.add(label)
                elif (mine := _label(value)) is not None and row.setdefault(label, mine) != mine:
                    raise DataError(f"{sidecar}: {label} is {mine}, beside it {row[label]}")
    names = tuple(dict.fromkeys(name for row in values.values() for name in row))
    texts = {n for row in values.values() for n, v in row.items() if isinstance(v, str)}
    rows = {key: _row(row, names, texts) for key, row in values.items() if row}
    notes = tuple(f"{name} in .json holds lists or objects, left aside" for name in sorted(nested))
    return Labels(names, rows, notes)


def _sample(name: str) -> str:
    """The name of a sample, which all of its files begin with."""
    found = SAMPLE.match(name)
    return found[1] if found else name


def _sidecars(base: str, files: Collection[str]) -> list[tuple[str, str]]:
    """The sidecars of a sample or an image, each after the label that it is."""
    named = ((label, f"{base}.{e}") for end, label in ENDINGS.items() for e in (end, end.upper()))
    return [(label, sidecar) for label, sidecar in named if sidecar in files]


def _read(files: Container, name: str) -> object:
    try:
        return _decoders()[name.rpartition(".")[2].lower()](files.read(name))
    except (ValueError, RecursionError, DataError) as error:
        raise DataError(f"{name} cannot be read as labels ({error}): mend or remove it") from error


def _decoders() -> Mapping[str, Callable[[bytes], object]]:
    """What WebDataset reads files with, by their endings; only those of `ENDINGS` are asked for."""
    found: Mapping[str, Callable[[bytes], object]]
    found = needed("webdataset.autodecode", "labels in tars", "train").decoders
    return found


def _label(value: object) -> Label:
    """A text, or a finite number; None for what says nothing.

    A whole number that is none of the floats is a text, lest two of them become one.
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int) and is_code(str(value)):
        return str(value)
    try:
        number = float(cast(float, value)) if value is not None else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _row(values: dict[str, Label], names: Sequence[str], texts: Collection[str]) -> Row:
    """The values in order; all of a label are texts if one is."""
    found = [values.get(name) for name in names]
    return tuple(
        written(value) if name in texts and isinstance(value, float) else value
        for name, value in zip(names, found, strict=True)
    )
