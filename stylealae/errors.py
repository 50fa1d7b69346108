"""The errors a user can mend. A message says what was found, wanted and what to change."""

__all__ = ["CheckpointError", "ConfigError", "DataError", "DivergenceError", "UserError"]
__all__ += ["printable"]

_CONTROLS = [*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_REPLACED = {c: "\N{REPLACEMENT CHARACTER}" for c in _CONTROLS if chr(c) not in "\n\t"}


def printable(text: object) -> str:
    """Text for a terminal: no character of it moves the cursor, recolors or turns the line.

    File names and manifests may hold any.
    """
    return str(text).translate(_REPLACED)


class UserError(Exception):
    """Base of every error that the command line prints as a sentence, without a traceback."""


class ConfigError(UserError, ValueError):
    """A configuration that cannot run."""


class DataError(UserError):
    """Images, shards or a manifest that are missing, damaged or of another kind."""


class CheckpointError(UserError):
    """A checkpoint or snapshot that is missing, torn or of another model."""


class DivergenceError(UserError):
    """A training run whose losses are no longer finite."""
