"""The errors a user can mend. A message says what was found, wanted and what to change."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

__all__ = ["CheckpointError", "ConfigError", "DataError", "DivergenceError", "UserError"]
__all__ += ["UnreachableError", "alike", "did_you_mean", "printable"]

_CONTROLS = [*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_BYTES = range(0xDC80, 0xDD00)  # of a file's name that is no UTF-8, as Python holds them
_REPLACED = {c: "\N{REPLACEMENT CHARACTER}" for c in (*_CONTROLS, *_BYTES) if chr(c) not in "\n\t"}


def printable(text: object) -> str:
    """Text for a terminal: no character of it moves the cursor, recolors or turns the line.

    File names and manifests may hold any, and file names bytes that no terminal can be sent.
    """
    return str(text).translate(_REPLACED)


def alike(path: Path, fits: Callable[[Path], bool] = lambda _: True) -> Path | None:
    """What is there and fits, and is called nearly as the first part of a path that is not."""
    missing = next((part for part in reversed(path.parents) if not part.exists()), path)
    beside = {
        child.name: child
        for child in missing.parent.glob("*")
        if child != missing and fits(child)  # a link that leads nowhere is there, too
    }
    padded = f"{missing.name:0>4}" if missing.name.isdecimal() else missing.name  # 32 is 0032
    names = [padded] if padded in beside else get_close_matches(missing.name, list(beside), 1)
    if not names:
        return None
    near = beside[names[0]]
    whole = near / path.relative_to(missing)
    return whole if whole.exists() else near


def did_you_mean(path: Path) -> str:
    """The end of a sentence on a path that is not there; empty if nothing there is like it."""
    if path.is_symlink() and not path.exists():
        return ", for it is a link that leads nowhere: mend it"
    near = None if path.exists() else alike(path)
    return f": did you mean {near}?" if near else ""


class UserError(Exception):
    """Base of every error that the command line prints as a sentence, without a traceback."""


class ConfigError(UserError, ValueError):
    """A configuration that cannot run."""


class DataError(UserError):
    """Images, shards or a manifest that are missing, damaged or of another kind."""


class UnreachableError(UserError):
    """An input that was there and can no longer be read, whatever it holds."""


class CheckpointError(UserError):
    """A checkpoint or snapshot that is missing, torn or of another model."""


class DivergenceError(UserError):
    """A training run whose losses are no longer finite."""
