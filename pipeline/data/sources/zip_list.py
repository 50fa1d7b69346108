"""A zip whose files are known: its list, which is as long as they are many, is not read again."""

import zipfile

from pipeline.data.sources.reach import unreachable

__all__ = ["opened_without_list"]


class _WithoutList(zipfile.ZipFile):
    """What opens a file of which the entry is given, with all checks of the standard library."""

    def _RealGetContents(self) -> None:  # noqa: N802 - the standard library's name
        """Read no list."""


def opened_without_list(path: str) -> zipfile.ZipFile:
    """A zip, for `open` with entries of its list; it is said to be gone if it cannot be opened."""
    try:
        return _WithoutList(path)
    except OSError as error:
        raise unreachable(path, error) from error
