"""Refinement for the page: step by step as lines of JSON, in the time that pictures leave.

C channels, R resolution.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from pipeline.studio.recipe import packed
from pipeline.studio.studio import Studio
from pipeline.studio.work import GONE, BatchQueue, RefusedError
from stylealae.errors import UserError

__all__ = ["Refiner"]

STEPS = 100
MAX_WAITING = 8
GIVE_WAY_S = 0.2
"""A step waits so long for pictures that are asked for; with more, refinement would never end."""


class Refiner:
    """Refines one face at a time, a few wait; who leaves ends his."""

    def __init__(self, studio: Studio, pictures: BatchQueue) -> None:
        self._studio, self._pictures = studio, pictures
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="refine")
        self._waiting = 0

    def require_room(self) -> None:
        """Refuses before anything is read.

        Raises:
            RefusedError: too many wait.
        """
        if self._waiting >= MAX_WAITING:
            raise RefusedError(503, "too many faces are being refined: try again in a minute")

    async def lines(self, x: Tensor) -> AsyncIterator[bytes]:
        """The steps that are done, then the style and its PSNR before and after; [C, R, R]."""
        loop, left = asyncio.get_running_loop(), threading.Event()
        steps: asyncio.Queue[int] = asyncio.Queue()

        def report(step: int) -> None:
            if left.is_set():
                raise RefusedError(GONE, "whoever asked has left")
            loop.call_soon_threadsafe(steps.put_nowait, step)
            self._pictures.wait_for_idle(GIVE_WAY_S)

        self._waiting += 1
        doing = loop.run_in_executor(self._thread, self._studio.refine, x, STEPS, report)
        doing.add_done_callback(lambda _: steps.put_nowait(0))  # there are no more
        try:
            yield _line(step=0, steps=STEPS)
            while step := await steps.get():
                yield _line(step=step, steps=STEPS)
            found = await doing
            before, after = float(found.before_db[0]), float(found.after_db[0])
            yield _line(w=packed(found.w[0]), before_db=round(before, 2), after_db=round(after, 2))
        except UserError as error:
            yield _line(error=f"{error}.")
        finally:
            left.set()
            doing.cancel()
            self._waiting -= 1


def _line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"
