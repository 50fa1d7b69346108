"""What a command prints on stderr: a UserError as one sentence, and no library's chatter."""

import logging
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from stylealae.errors import UserError, printable

__all__ = ["reporting", "reports_errors", "resumable", "show_error"]

P = ParamSpec("P")
R = TypeVar("R")


def reporting(interrupted: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A command whose UserError becomes one sentence and exit code 1, and Ctrl-C exit code 130.

    Args:
        interrupted: what Ctrl-C leaves behind.
    """

    def reports(command: Callable[P, R]) -> Callable[P, R]:
        @wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            _quiet()
            try:
                return command(*args, **kwargs)
            except UserError as error:
                show_error(error)
                sys.exit(1)
            except KeyboardInterrupt:
                click.secho(f"interrupted: {interrupted}", err=True)
                sys.exit(130)

        return wrapped

    return reports


def show_error(error: object) -> None:
    """Prints a sentence on stderr."""
    click.secho(f"error: {printable(error)}", fg="red", err=True)


reports_errors = reporting("nothing was written")
resumable = reporting("the same command goes on where it was")


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _quiet() -> None:
    """Shows our own warnings and silences those of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    warnings.filterwarnings("ignore", category=FutureWarning)
