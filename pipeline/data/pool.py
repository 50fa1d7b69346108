"""Shards made by several processes: small jobs, one progress bar, and a clean stop at any image."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline.data.source import Source
from stylealae.errors import DataError

__all__ = ["Ticker", "run_jobs"]

Note = dict[str, Any]
Ticker = Callable[[], None]
"""Called once an image: counts it, and raises if the work is to stop."""


class Job(Protocol):
    """What a process needs to know to make a shard; small, for it is pickled."""

    @property
    def images(self) -> int:
        """Number of images that the job reads."""


Work = Callable[[Source, Any, Ticker], Note]


class _StoppedError(Exception):
    """The work was called off; whoever called it off knows why."""


def run_jobs(
    source: Source, work: Work, jobs: Sequence[Job], workers: int, console: Console | None
) -> Generator[Note]:
    """Each job's note as it is finished; closing the iterator stops the work and removes scraps."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    with _bar(console) as bar:
        task = bar.add_task("images", total=sum(job.images for job in jobs))
        if workers <= 1:
            for job in jobs:
                yield work(source, job, lambda: bar.advance(task))
            return
        yield from _run_pool(
            source, work, jobs, workers, lambda done: bar.update(task, completed=done)
        )


def _run_pool(
    source: Source, work: Work, jobs: Sequence[Job], workers: int, report: Callable[[int], None]
) -> Generator[Note]:
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    executor = ProcessPoolExecutor(workers, context, _begin, (source, counter, stop, os.getpid()))
    try:
        with _ctrl_c_held():
            pending = {executor.submit(_run, work, job) for job in jobs}
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            report(counter.value)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, perhaps for want of memory: run the same command with fewer "
            "workers, finished shards are kept"
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


_here: tuple[Source, Ticker]  # a worker's own source and ticker, set once by _begin


@contextmanager
def _ctrl_c_held() -> Generator[None]:
    """Ctrl-C waits for the end of the block; processes started in it never see one.

    The terminal sends it to all of them: the parent alone decides, and passes it on as `stop`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(source: Source, counter: "Synchronized[int]", stop: Event, parent: int) -> None:
    global _here

    def tick() -> None:
        with counter.get_lock():
            counter.value += 1
        if stop.is_set() or os.getppid() != parent:
            raise _StoppedError

    _here = source, tick


def _run(work: Work, job: Job) -> Note:
    source, tick = _here
    return work(source, job, tick)


class _Rate(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        """The speed as text, empty before the first images."""
        return Text(f"{task.speed:,.0f} img/s" if task.speed else "")


def _bar(console: Console | None) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(
        *columns, _Rate(), TimeRemainingColumn(), console=console, disable=console is None
    )
