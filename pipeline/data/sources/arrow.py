"""Columns of Arrow: which of them are labels, and what their values say."""

import importlib
import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pipeline.data.format.types import Label

__all__ = ["MAX_EXACT", "as_text", "classes_of", "is_label", "label_of"]

MAX_EXACT = 1 << 53
"""The largest number up to which every whole one is itself as a float."""


def classes_of(schema: Any) -> dict[str, list[str]]:
    """The names of the classes of each ClassLabel column, from Hugging Face's note in the file."""
    note = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    columns: Iterable[tuple[str, Any]] = note.get("info", {}).get("features", {}).items()
    return {
        name: what["names"]
        for name, what in columns
        if isinstance(what, dict) and what.get("_type") == "ClassLabel"
    }


def is_label(types: Any, kind: Any) -> bool:
    """Whether values of a type are numbers or text, also behind a dictionary or as dates."""
    if types.is_dictionary(kind):
        return is_label(types, kind.value_type)
    checks = (
        *(types.is_integer, types.is_floating, types.is_boolean, types.is_decimal),
        *(types.is_string, types.is_large_string, types.is_temporal),
    )
    views = getattr(types, "is_string_view", None)  # younger than the oldest pyarrow
    return any(check(kind) for check in checks) or (views is not None and views(kind))


def as_text(columns: Sequence[Any], classes: Sequence[list[str] | None]) -> str | None:
    """Why the values of a label are to be texts in all files: some are, or no float is as exact.

    Args:
        columns: of the label, one a file.
        classes: the names that its numbers have in each file, if they have names.
    """
    types = importlib.import_module("pyarrow").types
    compute = importlib.import_module("pyarrow.compute")
    kinds = set()
    for column, names in zip(columns, classes, strict=True):
        kinds.add("numbers" if names is None and _is_numeric(types, column.type) else "texts")
        if types.is_integer(column.type) and names is None:
            ends = compute.min_max(column).as_py()
            if any(end is not None and abs(end) > MAX_EXACT for end in ends.values()):
                return "a number keeps fewer digits"
    return "it is text in some files and numbers in others" if len(kinds) > 1 else None


def _is_numeric(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        return _is_numeric(types, kind.value_type)
    checks = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(check(kind) for check in checks)


def label_of(value: object, classes: list[str] | None = None) -> Label:
    """A value of a column of labels; a number of `classes` by its name."""
    if value is None:
        return None
    if classes is not None and isinstance(value, int):
        return classes[value] if 0 <= value < len(classes) else None  # -1 is unlabelled
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (bool, int, float, Decimal)):
        number = float(value)
        return number if math.isfinite(number) else None
    return str(value) if str(value).strip() else None
