"""Labels as texts: how a number is written among them, and what a text may mean."""

from contextlib import suppress

from pipeline.data.format.types import Label

__all__ = ["is_class", "written"]


def written(number: float) -> str:
    """A number as a text among others: 3 for 3.0."""
    return f"{number:.0f}" if number.is_integer() else repr(number)


def is_class(value: Label, name: str) -> bool:
    """Whether a label's value is what a text says: a category by its letters, a number by value."""
    if isinstance(value, str):
        return value == name
    with suppress(ValueError):
        return value == float(name)
    return False
