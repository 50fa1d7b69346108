"""The errors a user can mend. A message says what was found, wanted and what to change."""

__all__ = ["CheckpointError", "ConfigError", "DataError", "DivergenceError", "UserError"]


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
