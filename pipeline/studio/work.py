"""What the studio does at a time: pictures that wait together, a few uploads, one refinement."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from stylealae.errors import UserError

__all__ = ["GONE", "BatchQueue", "RefusedError", "WorkQueue", "body", "uploading"]

T = TypeVar("T")
Q = TypeVar("Q")
Batched = Callable[[Sequence[Q]], Sequence[T | UserError]]
"""Answers to several questions at once, each of them a result or what is wrong with it."""

MAX_WAITING = 128
UPLOADS = 6
"""Bodies of photos that are held at the same time; others wait, unread."""
UPLOAD_S = 60
GONE = 499
"""The status that nobody receives."""


class RefusedError(UserError):
    """A request that is answered with a sentence and this status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class WorkQueue:
    """Threads that work, and a bounded queue before them, first come, first served."""

    def __init__(self, threads: int = 1) -> None:
        self._threads: Executor = ThreadPoolExecutor(threads, thread_name_prefix="studio")
        self._waiting = 0

    async def do(self, request: Request, work: Callable[[], T]) -> T:
        """The result of `work`.

        Raises:
            RefusedError: too much waits, or whoever asked has left before it was begun.
        """
        require_capacity(self._waiting)
        self._waiting += 1
        doing = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await unless_gone(request, doing)
        finally:
            self._waiting -= 1


@dataclass(eq=False)
class _Job:
    work: Batched[Any, Any]
    question: Any
    answer: "asyncio.Future[tuple[Any, float]]"


class BatchQueue:
    """One thread that answers what waits, several questions of a kind together.

    The oldest question is never passed over: its batch is those of its kind that wait with it.
    """

    def __init__(self, most: int) -> None:
        """`most` is the size of a batch."""
        self._most = most
        self._jobs: deque[_Job] = deque()
        self._thread: Executor = ThreadPoolExecutor(1, thread_name_prefix="studio")
        self._working: asyncio.Task[None] | None = None
        self._idle = threading.Event()
        self._idle.set()

    async def do(self, request: Request, work: Batched[Q, T], question: Q) -> tuple[T, float]:
        """The answer of `work` to a question, and the seconds that its batch took.

        Raises:
            UserError: what `work` finds wrong with the question.
            RefusedError: too much waits, or whoever asked has left before it was begun.
        """
        require_capacity(len(self._jobs))
        loop = asyncio.get_running_loop()
        job = _Job(work, question, loop.create_future())
        self._jobs.append(job)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await unless_gone(request, job.answer)

    def wait_for_idle(self, at_most_s: float) -> None:
        """Returns when nothing waits, or after a while: called by threads with less urgent work."""
        self._idle.wait(at_most_s)

    async def _work(self) -> None:
        self._idle.clear()
        try:
            while batch := self._next():
                began = time.perf_counter()
                try:
                    answers = await asyncio.get_running_loop().run_in_executor(
                        self._thread, batch[0].work, [job.question for job in batch]
                    )
                except Exception as error:  # a fault of ours: every one of them is told
                    answers = [error] * len(batch)
                took = time.perf_counter() - began
                for job, answer in zip(batch, answers, strict=True):
                    if job.answer.done():  # whoever asked has left
                        continue
                    if isinstance(answer, Exception):
                        job.answer.set_exception(answer)
                    else:
                        job.answer.set_result((answer, took))
        finally:
            self._idle.set()

    def _next(self) -> list[_Job]:
        """The oldest question and those of its kind, taken out of the queue."""
        batch: list[_Job] = []
        others: list[_Job] = []
        while self._jobs and len(batch) < self._most:
            job = self._jobs.popleft()
            if job.answer.done():
                continue
            (batch if not batch or job.work == batch[0].work else others).append(job)
        self._jobs.extendleft(reversed(others))
        return batch


def require_capacity(waiting: int) -> None:
    """Refuses a request when so many wait that it would be answered too late."""
    if waiting >= MAX_WAITING:
        raise RefusedError(503, "too many pictures are asked for at once: try again in a moment")


async def unless_gone(request: Request, doing: "asyncio.Future[T]") -> T:
    """What is being done, given up when whoever asked leaves."""
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((doing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise RefusedError(GONE, "whoever asked has left")
        return doing.result()
    finally:
        doing.cancel()
        leaving.cancel()


@asynccontextmanager
async def uploading(places: asyncio.Semaphore) -> AsyncIterator[None]:
    """A place among the uploads that are held, in the order of asking."""
    try:
        async with asyncio.timeout(UPLOAD_S):
            await places.acquire()
    except TimeoutError as error:
        raise RefusedError(503, "too many photos are being sent: try again in a moment") from error
    try:
        yield
    finally:
        places.release()


async def body(request: Request, limit: int) -> bytes:
    """What was sent, as far as it stays within bounds of size and time."""
    too_large = RefusedError(413, f"it has more than {limit >> 20} MB: send a smaller one")
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    chunks, size = [], 0
    try:
        async with asyncio.timeout(UPLOAD_S):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise too_large
    except ClientDisconnect as error:
        raise RefusedError(GONE, "whoever sent it has left") from error
    except TimeoutError as error:
        raise RefusedError(
            408, f"it took more than {UPLOAD_S} seconds to send: try again"
        ) from error
    return b"".join(chunks)


async def _left(request: Request) -> None:
    """Returns when whoever asked has gone; the body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
