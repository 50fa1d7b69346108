"""What commands write: pictures, tables, numbers as a line of JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylealae.errors import ConfigError, printable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["JSON", "print_numbers", "print_table", "wants_tables", "write_picture"]

JSON = click.option("--json", "as_json", is_flag=True, help="JSON on a terminal too, no table.")


def write_picture(picture: "Image", out: Path) -> None:
    """Saves a picture and prints its path."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {out}: {error}") from error
    click.echo(out)


def print_numbers(**numbers: object) -> None:
    """Prints numbers by name as one line of JSON; floats keep four digits."""
    click.echo(json.dumps(_short(numbers)))


def _short(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_short(v) for v in value]
    return value


def wants_tables(as_json: bool) -> bool:
    """Whether results are shown as tables: on a terminal, unless JSON was asked for."""
    return sys.stdout.isatty() and not as_json


def print_table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1
) -> None:
    """Prints a table of which the first `words` columns are words and the others numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), title_justify="left", box=SIMPLE_HEAD,
                  pad_edge=False, padding=(0, 1, 0, 0))  # fmt: skip
    for column, heading in enumerate(headings):
        table.add_column(heading, justify="left" if column < words else "right")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    Console().print(table)
