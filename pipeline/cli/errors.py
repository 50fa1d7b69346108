"""What a command prints on stderr: a UserError as one sentence, and no library's chatter."""

import logging
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from stylealae.errors import UserError

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
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.secho("interrupted: the same command goes on where it was", err=True)
            sys.exit(130)

    return wrapped


def _quiet() -> None:
    """Shows our own warnings and silences those of the libraries."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore", category=FutureWarning)
