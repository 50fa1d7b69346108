"""A table of labels as text, whatever it was read from."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FILE_COLUMNS", "Sheet", "cell"]

FILE_COLUMNS = frozenset(
    (
        *("file", "filename", "file_name", "file name", "image", "image_id", "image_name", "img"),
        *("image_path", "img_path", "path", "filepath", "file_path", "name", "id", "image id"),
    )
)
"""What people call the column that names images."""


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


def cell(value: object) -> str:
    """A value as a table in text has it; nothing for None."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)
