"""Refinement and tuning for the page: step by step as lines of JSON, in the time pictures leave.

C channels, R resolution.
"""

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from pipeline.studio.recipe import packed
from pipeline.studio.studio import Studio
from pipeline.studio.tunings import Tunings
from pipeline.studio.work import GONE, BatchQueue, RefusedError
from stylealae.errors import UserError

__all__ = ["Refiner"]

STEPS, TUNING_STEPS = 100, 200
MAX_WAITING = 8
GIVE_WAY_S = 0.2
"""A step waits so long for pictures that are asked for; with more, refinement would never end."""
LIMIT_S, JUDGED_AT = 900.0, 5
"""What would take longer is ended, after so many steps, for others wait."""

OnStep = Callable[[int], None]
Work = Callable[[OnStep], Mapping[str, object]]
"""Reports each step; what it gives back is the last line."""


class Refiner:
    """Refines, or tunes to, one face at a time, a few wait; who leaves ends his."""

    def __init__(self, studio: Studio, pictures: BatchQueue, tunings: Tunings) -> None:
        self._studio, self._pictures, self._tunings = studio, pictures, tunings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="refine")
        self._waiting = 0

    def require_capacity(self) -> None:
        """Refuses before anything is read.

        Raises:
            RefusedError: too many wait.
        """
        if self._waiting >= MAX_WAITING:
            raise RefusedError(503, "too many faces are being refined: try again in a minute")

    def refined(self, x: Tensor) -> AsyncIterator[bytes]:
        """The steps that are done, then the style and its PSNR before and after; [C, R, R]."""

        def work(report: OnStep) -> Mapping[str, object]:
            found = self._studio.refine(x, STEPS, report)
            return {"w": packed(found.w[0])} | _decibels(found.before_db, found.after_db)

        return self._lines(STEPS, work)

    def tuned(self, x: Tensor) -> AsyncIterator[bytes]:
        """The same of refinement and tuning; then the tuning's name and file too."""

        def work(report: OnStep) -> Mapping[str, object]:
            refined = self._studio.refine(x, STEPS, report)
            found = self._studio.tune(x, refined.w, TUNING_STEPS, lambda k: report(STEPS + k))
            data = found.tuning.packed()
            name, _ = self._tunings.keep(data)
            last = {"w": packed(refined.w[0]), "tuned": name, "far_db": round(found.far_db, 2)}
            last["file"] = base64.b64encode(data).decode()
            return last | _decibels(refined.before_db, found.after_db)

        return self._lines(STEPS + TUNING_STEPS, work)

    async def _lines(self, steps: int, work: Work) -> AsyncIterator[bytes]:
        """How many are before it, the steps that are done, and what the work gives back."""
        loop, left = asyncio.get_running_loop(), threading.Event()
        done: asyncio.Queue[int | None] = asyncio.Queue()

        def run() -> Mapping[str, object]:
            began = time.monotonic()
            loop.call_soon_threadsafe(done.put_nowait, 0)

            def report(step: int) -> None:
                if left.is_set():
                    raise RefusedError(GONE, "whoever asked has left")
                _require_time(time.monotonic() - began, step, steps)
                loop.call_soon_threadsafe(done.put_nowait, step)
                self._pictures.wait_for_idle(GIVE_WAY_S)

            return work(report)

        before, self._waiting = self._waiting, self._waiting + 1
        doing = loop.run_in_executor(self._thread, run)
        doing.add_done_callback(lambda _: done.put_nowait(None))  # there are no more
        try:
            yield _line(before=before)
            while (step := await done.get()) is not None:
                yield _line(step=step, steps=steps)
            yield _line(**await doing)
        except UserError as error:
            yield _line(error=f"{error}.")
        finally:
            left.set()
            doing.cancel()
            self._waiting -= 1


def _require_time(passed_s: float, step: int, steps: int) -> None:
    """Ends what would take too long.

    Raises:
        RefusedError: it would.
    """
    whole_s = passed_s * steps / step
    if passed_s > LIMIT_S or (step >= JUDGED_AT and whole_s > LIMIT_S):
        raise RefusedError(
            503,
            f"this would take about {whole_s / 60:.0f} minutes on the studio's machine, which "
            f"gives it {LIMIT_S / 60:.0f}: use `stylealae refine`, with `--tune` to tune",
        )


def _decibels(before: Tensor, after: Tensor) -> dict[str, object]:
    return {"before_db": round(float(before[0]), 2), "after_db": round(float(after[0]), 2)}


def _line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"
