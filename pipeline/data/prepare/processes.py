"""Shards made by several processes: small jobs, one progress bar, and a clean stop at any image."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Protocol

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

from pipeline.data.prepare.jobs import ShardJob, ShardNote
from pipeline.data.sources.source import Source
from stylealae.errors import DataError

__all__ = ["OnProgress", "Runner", "Ticker", "Work", "over_processes", "run_jobs"]

POLL_S = 0.2
OnProgress = Callable[[int], None]
"""Called with the number of images that are done."""


class Ticker(Protocol):
    """Counts images, and raises if the work is to stop."""

    def __call__(self, images: int = 1) -> None:
        """Count so many; 0 only asks."""


Work = Callable[[Source, ShardJob, Ticker], ShardNote]
"""Makes one shard."""
Runner = Callable[[Source, Work, Sequence[ShardJob], int, OnProgress], Generator[ShardNote]]
"""Shares jobs among some number of workers (0: as many as there are cores) and gives back each
job's note as it is finished; closing it stops the work and removes scraps."""


class _StoppedError(Exception):
    """The work was called off; whoever called it off knows why."""


def run_jobs(
    source: Source,
    work: Work,
    jobs: Sequence[ShardJob],
    workers: int,
    runner: Runner,
    console: Console | None,
    done_img: int = 0,
) -> Generator[ShardNote]:
    """What `runner` gives back, under a bar that begins at the `done_img` that need no work."""
    with _bar(console) as bar:
        total = done_img + sum(job.images for job in jobs)
        task = bar.add_task("images", total=total, completed=done_img)
        yield from runner(
            source, work, jobs, workers, lambda n: bar.update(task, completed=done_img + n)
        )


def over_processes(
    source: Source, work: Work, jobs: Sequence[ShardJob], workers: int, report: OnProgress
) -> Generator[ShardNote]:
    """A Runner on this machine; with a single worker, in this process."""
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if workers > 1:
        yield from _run_pool(source, work, jobs, workers, report)
        return
    done = 0

    def tick(images: int = 1) -> None:
        nonlocal done
        done += images
        report(done)

    for job in jobs:
        yield work(source, job, tick)


def _run_pool(
    source: Source, work: Work, jobs: Sequence[ShardJob], workers: int, report: OnProgress
) -> Generator[ShardNote]:
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    executor = ProcessPoolExecutor(workers, context, _begin, (source, counter, stop, os.getpid()))
    try:
        with _ctrl_c_held():
            pending = {executor.submit(_run, work, job) for job in jobs}
        while pending:
            done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
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

    def tick(images: int = 1) -> None:
        with counter.get_lock():
            counter.value += images
        if stop.is_set():
            raise _StoppedError

    _here = source, tick
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    """End this process when its parent was killed; what it had begun is swept out later."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def _run(work: Work, job: ShardJob) -> ShardNote:
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
