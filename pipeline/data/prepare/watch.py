"""Which image each worker process is at, and whether it has been at it for too long."""

import os
import time
from multiprocessing.context import SpawnContext
from pathlib import Path

__all__ = ["LIMIT_S", "NONE", "Watch"]

LIMIT_S = 60.0
"""Seconds of its processor that a worker may take for one image; the largest take a few."""
NONE = -1
"""In place of an image, where none is read."""


class Watch:
    """Shared by the processes of a pool: they note what they read, the parent looks at it."""

    def __init__(self, context: SpawnContext, workers: int) -> None:
        """No worker has joined yet."""
        self._joined = context.Value("i", 0)
        self._pids = context.RawArray("q", workers)
        self._images = context.RawArray("q", [NONE] * workers)
        self._since_s = context.RawArray("d", workers)
        self._slot = NONE

    def join(self) -> None:
        """Of a worker: it is watched from now on."""
        with self._joined.get_lock():
            self._slot = self._joined.value
            self._joined.value += 1
        self._pids[self._slot] = os.getpid()

    @property
    def joined(self) -> int:
        """How many workers have joined."""
        return int(self._joined.value)

    def begin(self, image: int) -> None:
        """Of a worker: it reads this image of the source, or NONE."""
        self._images[self._slot] = NONE
        self._since_s[self._slot] = time.process_time()
        self._images[self._slot] = image

    def stuck(self) -> tuple[int, int] | None:
        """Of the parent: a process that takes too long, and its image; None without one."""
        for pid, image, since in zip(self._pids, self._images, self._since_s, strict=True):
            if image != NONE and _processor_s(pid) - since > LIMIT_S:
                return pid, image
        return None


def _processor_s(pid: int) -> float:
    """Seconds of a processor that a process has taken; 0 where that cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:  # it is gone, or this is not Linux
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
