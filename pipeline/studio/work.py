"""What the studio does at a time: one picture, a few uploads, in the order of asking."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from stylealae.errors import UserError

__all__ = ["RefusedError", "WorkQueue", "body", "uploading"]

T = TypeVar("T")

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

    async def do(self, request: Request, work: Callable[[], T]) -> tuple[T, dict[str, str]]:
        """The result of `work`, and a header with the time that it took.

        Raises:
            RefusedError: too much waits, or whoever asked has left before it was begun.
        """
        if self._waiting >= MAX_WAITING:
            raise RefusedError(
                503, "too many pictures are asked for at once: try again in a moment"
            )
        self._waiting += 1
        doing = asyncio.get_running_loop().run_in_executor(self._threads, _timed, work)
        leaving = asyncio.create_task(_left(request))
        try:
            both: set[asyncio.Future[object]] = {doing, leaving}  # type: ignore[arg-type]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                doing.cancel()
                raise RefusedError(GONE, "whoever asked has left")
            done, seconds = doing.result()
        finally:
            leaving.cancel()
            self._waiting -= 1
        return done, {"server-timing": f"work;dur={1e3 * seconds:.0f}"}


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


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began
