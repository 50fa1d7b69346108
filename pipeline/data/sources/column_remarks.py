"""What people should know of how a column of labels was read."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import normalize

from pipeline.data.format.types import Label
from pipeline.data.sources.columns import NO_NUMBER, is_code

__all__ = ["is_number", "remarks"]

_NEARLY = re.compile(
    r"[+\-\u2212]?[€$£¥]?\s?\d[\d.,'\u2019\s]*(?<![.,'])(%|‰|[€$£¥]|[^\W\d_]{0,4})"
)
"""A number with a unit, between thousands, or as a date: 50 %, 1 234, 180cm."""
LARGE, SHORTENED = 1e11, re.compile(r"-?\d\.\d{2,5}E\+1[1-9]")
"""How Excel writes a number of 12 digits and more where nobody has asked for all of them."""


def remarks(values: Sequence[Label], cells: Iterable[str]) -> Iterator[str]:
    """What people should know of how a column was read, which is of texts or of numbers."""
    known = set(values) - {None}
    texts = {value for value in known if isinstance(value, str)}
    if texts and (why := _why_text(values)):
        yield f"is read as text, for {why}"
    unknown = sorted(text for text in texts if text.lower() in NO_NUMBER)
    if unknown and len(unknown) < len(texts):
        yield f"has the value {unknown[0]!r}: leave a cell empty where nothing is known"
    if twins := _twins(texts):
        yield f"has {twins[0]!r} and {twins[1]!r}, which are two values"
    if any(isinstance(value, float) and abs(value) >= LARGE for value in known):
        short = next(filter(SHORTENED.fullmatch, cells), None)
        if short is not None:
            yield f"has {short!r}, a number that a spreadsheet has shortened"


def _twins(texts: Iterable[str]) -> tuple[str, str] | None:
    """Two texts that look like one: capitals, spaces or the form of a letter tell them apart."""
    seen: dict[str, str] = {}
    for text in sorted(texts):
        folded = " ".join(normalize("NFKC", text).casefold().split())
        if folded in seen:
            return seen[folded], text
        seen[folded] = text
    return None


def _why_text(values: Sequence[Label]) -> str | None:
    """Why a column that may look like one of numbers is text; None for another."""
    texts = [value for value in values if isinstance(value, str)]
    if all(map(is_number, texts)) and (code := next(filter(is_code, texts), None)):
        begins = code.lstrip("+-").startswith("0")
        fault = "begins with 0, as codes do" if begins else "has more digits than a number keeps"
        return f"{code!r} {fault}"
    odd = _odd_one(values)
    return None if odd is None else f"{odd!r} is no number"


def _odd_one(values: Sequence[Label]) -> str | None:
    """A text in a column that is numbers but for a few, or but for units and the like."""
    texts = [value for value in values if isinstance(value, str)]
    odd = [text for text in texts if not is_number(text)]
    numbers = len(texts) - len(odd) + sum(_NEARLY.fullmatch(text) is not None for text in odd)
    return odd[0] if odd and 2 * numbers >= len(texts) else None


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
