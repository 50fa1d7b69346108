"""What commands write: pictures, numbers as a line of JSON, and a bar where it takes long."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from stylealae.errors import ConfigError

__all__ = ["progress", "tell", "write_picture"]


def write_picture(picture: Any, out: Path) -> None:
    """Saves a PIL picture, and says where."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {out}: {error}") from error
    click.echo(out)


def tell(**numbers: Any) -> None:
    """Prints what was measured as one line of JSON; floats keep four digits."""
    click.echo(json.dumps(_short(numbers)))


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_short(v) for v in value]
    return value


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that the block moves on by calling; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)
