"""Progress of long work on stderr: bars on a terminal, elsewhere lines; its whole time is said."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import click

__all__ = ["ANNOUNCED_S", "Update", "bars", "in_words", "progress"]

LINE_S = 10.0
"""Between two lines of progress where there is no terminal."""
ANNOUNCED_S = 10.0
"""Of work that takes less, the whole time is not said."""
TIMED_S = 1.0
"""Work is timed for so long before its whole time is said."""

Update = Callable[[str, int, int | None], None]
"""Called with what is done, how many of it are, and of how many."""
Draw = Callable[[str, int, int | None, float | None], None]
"""The same, and the seconds that are left, if that is known."""


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress of one thing: the block calls what it is given with the number of items done."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        update(what, done, total)

    with bars() as update:
        update(what, 0, total)
        yield advance


@contextmanager
def bars(*, shown: bool = True, announced: bool = True) -> Iterator[Update]:
    """Progress of several things; of each that takes long, the whole time if it is `announced`.

    On a terminal these are bars on stderr, gone when the block ends; elsewhere a line of each every
    ten seconds.
    """
    if not shown:
        yield lambda _what, _done, _of: None
        return
    clocks: dict[str, _Clock] = {}
    with _drawn() if sys.stderr.isatty() else nullcontext((_lines(), _say)) as (draw, say):

        def update(what: str, done: int, of: int | None) -> None:
            clock = clocks.setdefault(what, _Clock(done))
            left = clock.left_s(done, of)
            if announced and of and (whole := clock.announced_s(left)) is not None:
                say(f"{what}: about {in_words(whole)} for {of - clock.start:,}")
            draw(what, done, of, left)

        yield update


def in_words(seconds: float) -> str:
    """A time as people say it: 12 s, 45 s, 3 minutes, 1.5 hours."""
    if seconds < 20:
        return f"{max(round(seconds), 1)} s"
    if seconds < 100:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 100 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


@dataclass
class _Clock:
    """The time that work takes, by its pace since its first items, which take longer."""

    start: int
    """Items that were done before."""
    began: float = field(default_factory=lambda: time.monotonic())
    first: tuple[float, int] | None = None
    """When the first items were done, and how many they were."""
    announced: bool = False

    def left_s(self, done: int, of: int | None) -> float | None:
        """Seconds that are left; None while that is not known."""
        if not of or done <= self.start:
            return None
        now = time.monotonic()
        then, before = self.first = self.first or (now, done)
        if now - then < TIMED_S or done == before:
            return None
        return (of - done) * (now - then) / (done - before)

    def announced_s(self, left: float | None) -> float | None:
        """Seconds that the whole takes, to be said once; None if they are few, or were said."""
        if left is None or self.announced:
            return None
        self.announced = True
        whole = time.monotonic() - self.began + left
        return whole if whole >= ANNOUNCED_S else None


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def _lines() -> Draw:
    """Progress as lines, for a log."""
    said = time.monotonic()

    def draw(what: str, done: int, of: int | None, left: float | None) -> None:
        nonlocal said
        if time.monotonic() - said >= LINE_S:
            said = time.monotonic()
            ahead = f", about {in_words(left)} left" if left is not None and done != of else ""
            _say(f"{what}: {done:,}" + (f" of {of:,}" if of else "") + ahead)

    return draw


@contextmanager
def _drawn() -> "Iterator[tuple[Draw, Callable[[str], None]]]":
    """Progress as bars; lines that are printed meanwhile stand above them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[pace]}"), Left())  # fmt: skip
    console, tasks = Console(stderr=True, highlight=False), dict[str, TaskID]()
    aside = sys.stdout.isatty()  # else what is printed is meant for a file, and stays out of this
    with Progress(*columns, console=console, transient=True, redirect_stdout=aside) as drawn:

        def draw(what: str, done: int, of: int | None, left: float | None) -> None:
            if what not in tasks:
                tasks[what] = drawn.add_task(what, total=of, pace="")
            pace = f"{(of - done) / left:,.0f}/s" if left and of else ""
            drawn.update(tasks[what], completed=done, pace=pace)

        yield draw, lambda sentence: console.print(sentence, markup=False)
