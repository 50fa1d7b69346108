"""What commands write: pictures, numbers as a line of JSON, and a progress bar."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylealae.errors import ConfigError, printable

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["JSON", "bars", "print_numbers", "print_table", "progress", "wants_tables"]
__all__ += ["write_picture"]

LINE_S = 10.0
"""Between two lines of progress where there is no terminal."""
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


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr: the block calls what it is given with the number of items done."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        update(what, done, total)

    with bars() as update:
        update(what, 0, total)
        yield advance


@contextmanager
def bars(*, shown: bool = True) -> Iterator[Callable[[str, int, int | None], None]]:
    """Progress of several things: the block calls it with what, how many are done, and of how many.

    On a terminal these are bars on stderr, gone when the block ends; elsewhere a line of each every
    ten seconds.
    """
    if not (shown and sys.stderr.isatty()):
        yield _lines() if shown else lambda _what, _done, _of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown_bars:

        def update(what: str, done: int, of: int | None) -> None:
            if what not in tasks:
                tasks[what] = shown_bars.add_task(what, total=of)
            shown_bars.update(tasks[what], completed=done)

        yield update


def _lines() -> Callable[[str, int, int | None], None]:
    """Progress as lines, for a log."""
    said = time.monotonic()

    def update(what: str, done: int, of: int | None) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_S:
            said = time.monotonic()
            click.echo(f"{what}: {done:,}" + (f" of {of:,}" if of else ""), err=True)

    return update


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
