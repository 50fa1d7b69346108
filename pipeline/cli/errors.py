"""What a command prints on stderr: a UserError as one sentence, and no library's chatter."""

import logging
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from stylealae.errors import UserError, printable

__all__ = ["reports_errors"]

P = ParamSpec("P")
R = TypeVar("R")


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """The command; a UserError becomes one sentence and exit code 1, Ctrl-C exit code 130."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        _quiet()
        try:
            return command(*args, **kwargs)
        except UserError as error:
            click.secho(f"error: {printable(error)}", fg="red", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.secho("interrupted: the same command goes on where it was", err=True)
            sys.exit(130)

    return wrapped


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _quiet() -> None:
    """Shows our own warnings and silences those of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    warnings.filterwarnings("ignore", category=FutureWarning)
