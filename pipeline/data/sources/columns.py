"""What the cells of a column of labels mean: numbers, words, codes, or nothing."""

import math
import re
from collections.abc import Sequence

from pipeline.data.format.types import Label
from pipeline.data.sources.arrow import MAX_EXACT

__all__ = ["NO_NUMBER", "column", "is_code"]

UNKNOWN = {
    *("", "nan", "<na>", "#n/a", "n/a", "null"),
    *("#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!"),
}
"""Cells that say nothing, in lower case; in a column of numbers, those below too."""
NO_NUMBER = UNKNOWN | {"na", "none", "nil", "?", "-", "--", ".", "inf", "-inf", "+inf", "infinity"}
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+|[+-]?\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_CODE = re.compile(r"[+-]?0\d+")
_POINTS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
TRUTH = {"true": 1.0, "false": 0.0}
"""Cells of a column that holds nothing else: as they are in JSON and Parquet."""


def column(cells: Sequence[str], delimiter: str = ",") -> list[Label]:
    """Numbers where every cell that says something is one, else text; the others are None."""
    plain = {cell: cell.strip() for cell in cells}  # few values in many cells
    said = [text for text in plain.values() if text.lower() not in NO_NUMBER]
    numbers = _numbers(said, delimiter) if said else None
    known: dict[str, Label]
    if numbers is not None:
        values = dict(zip(said, numbers, strict=True))
        known = {cell: values.get(text) for cell, text in plain.items()}
    else:
        known = {c: None if text.lower() in UNKNOWN else text for c, text in plain.items()}
    return [known[text] for text in cells]


def is_code(text: str) -> bool:
    """Whether digits are a code, as no number keeps them: 01067, or more than 15 or so of them."""
    if _CODE.fullmatch(text):
        return True
    return len(text) > 15 and text.lstrip("+-").isdecimal() and abs(int(text)) > MAX_EXACT


def _numbers(cells: Sequence[str], delimiter: str) -> list[float] | None:
    """The cells as finite numbers, also with decimal commas, True as 1; None if one is none."""
    if any("_" in text for text in cells):  # 1_000 is a number to Python alone
        return None
    if all(text.lower() in TRUTH for text in cells):
        return [TRUTH[text.lower()] for text in cells]
    cells = [text.replace("\N{MINUS SIGN}", "-") for text in cells]
    if any(map(is_code, cells)):
        return None
    commas = [text for text in cells if "," in text]
    if commas and all(_COMMA.fullmatch(text) for text in cells):
        if delimiter != ";" and all(_THOUSANDS.fullmatch(text) for text in commas):
            return None  # 1,234 may be either
        cells = [text.replace(".", "").replace(",", ".") for text in cells]
    elif delimiter == ";" and _may_be_thousands(cells):
        return None  # and so may 1.234 beside 10, where decimals have commas
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _may_be_thousands(cells: Sequence[str]) -> bool:
    """Whether all points stand as between thousands, and other cells have none."""
    points = [text for text in cells if "." in text]
    return 0 < len(points) < len(cells) and all(map(_POINTS.fullmatch, points))
