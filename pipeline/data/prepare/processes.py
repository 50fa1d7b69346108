"""Shards made by several processes: small jobs, one count, and a clean stop at any image."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Protocol

from pipeline.data.prepare.jobs import ShardJob, ShardNote
from pipeline.data.prepare.watch import NONE, Watch
from pipeline.data.sources.source import Source
from stylealae.errors import DataError

__all__ = ["OnProgress", "Runner", "Ticker", "Work", "over_processes", "packed", "unpacked"]

POLL_S = 0.2
AHEAD = 2  # jobs a worker that are handed out, of which the next one is then at hand
OnProgress = Callable[[int], None]
"""Called with the number of images that are done."""


class Ticker(Protocol):
    """Counts images, and raises if the work is to stop."""

    def __call__(self, images: int = 1) -> None:
        """Count an image that is begun; 0 only asks, while none is read."""


Work = Callable[[Source, ShardJob, Ticker], ShardNote]
"""Makes one shard."""
Runner = Callable[[Source, Work, Sequence[ShardJob], int, OnProgress], Generator[ShardNote]]
"""Shares jobs among some number of workers (0: as many as there are cores) and gives back each
job's note as it is finished; closing it stops the work and removes scraps."""


class _StoppedError(Exception):
    """The work was called off; whoever called it off knows why."""


class _StuckError(Exception):
    """A process was ended, for it took too long for an image."""

    def __init__(self, image: int) -> None:
        super().__init__(image)
        self.image = image


def over_processes(
    source: Source, work: Work, jobs: Sequence[ShardJob], workers: int, report: OnProgress
) -> Generator[ShardNote]:
    """A Runner on this machine; with `workers=1` in this process, which nothing can end.

    So is one job of a source that decodes no files.
    """
    most = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if workers != 1 and (most > 1 or source.decodes):
        yield from _run_pools(source, work, jobs, most, report)
        return
    done = 0

    def tick(images: int = 1) -> None:
        nonlocal done
        done += images
        report(done)

    for job in jobs:
        yield work(source, job, tick)


def _run_pools(
    source: Source, work: Work, jobs: Sequence[ShardJob], workers: int, report: OnProgress
) -> Generator[ShardNote]:
    """One pool after the other: with a process that had to be ended, its pool ends."""
    left = {job.number: job for job in jobs}
    total = sum(job.images for job in jobs)
    while left:
        done_img = total - sum(job.images for job in left.values())
        told = _beginning_at(done_img, report)
        pool = _run_pool(source, work, list(left.values()), min(workers, len(left)), told)
        try:
            for note in pool:
                del left[note["number"]]
                yield note
        except _StuckError as error:
            job = next(job for job in left.values() if job.start <= error.image < job.stop)
            left[job.number] = replace(job, given_up=(*job.given_up, error.image))
        finally:
            pool.close()


def _beginning_at(images: int, report: OnProgress) -> OnProgress:
    return lambda n: report(images + n)


def _run_pool(
    source: Source, work: Work, jobs: Sequence[ShardJob], workers: int, report: OnProgress
) -> Generator[ShardNote]:
    context = multiprocessing.get_context("spawn")
    counter, stop, watch = context.Value("q", 0), context.Event(), Watch(context, workers)
    executor = ProcessPoolExecutor(workers, context, _begin, (counter, stop, watch, os.getpid()))
    stuck, waiting, pending = None, deque(jobs), set[Future[ShardNote]]()
    try:
        while waiting or pending:
            while waiting and len(pending) < AHEAD * workers:
                job = waiting.popleft()
                given = packed(source, job)
                with _ctrl_c_held():
                    pending.add(executor.submit(_run, work, given, job))
            done, pending = wait(pending, timeout=POLL_S, return_when=FIRST_COMPLETED)
            report(counter.value)
            for future in done:
                yield future.result()
            if pending and (stuck := stuck or watch.stuck()):
                os.kill(stuck[0], signal.SIGKILL)
    except BrokenProcessPool as error:
        if stuck:
            raise _StuckError(stuck[1]) from error
        if not watch.joined:
            raise DataError(
                "no worker process could begin, for the reason that it gives above: in a program "
                "of your own call this below `if __name__ == '__main__':`, or take one worker"
            ) from error
        raise DataError(
            "a worker process died, perhaps for want of memory: run the same command with fewer "
            "workers, finished shards are kept"
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


_ticker: Callable[[ShardJob], Ticker]  # a worker's own, set once by _begin


def packed(source: Source, job: ShardJob) -> bytes:
    """What another process needs to read the images of a job."""
    return pickle.dumps(source.part(job.start, job.stop))


@lru_cache(maxsize=1)
def unpacked(given: bytes) -> Source:
    """The source, or its part; one that has to be opened again is opened once a process.

    Raises:
        DataError: it cannot be opened.
    """
    source: Source = pickle.loads(given)
    return source


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


def _begin(counter: "Synchronized[int]", stop: Event, watch: Watch, parent: int) -> None:
    global _ticker

    def ticker(job: ShardJob) -> Ticker:
        image = job.start - 1

        def tick(images: int = 1) -> None:
            nonlocal image
            image += images
            watch.begin(image if images else NONE)
            with counter.get_lock():
                counter.value += images
            if stop.is_set():
                raise _StoppedError

        return tick

    _ticker = ticker
    watch.join()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    """End this process when its parent was killed; what it had begun is swept out later."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def _run(work: Work, given: bytes, job: ShardJob) -> ShardNote:
    return work(unpacked(given), job, _ticker(job))
