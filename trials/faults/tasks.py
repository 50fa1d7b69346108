"""What is to be done: every fault so often, in pieces that lanes take one after the other."""

import random
import threading
from collections.abc import Iterator, Sequence

from trials.faults.kinds import Kind

PIECE = 4
"""Faults that are done to a folder's run before its lane asks for more."""

Task = tuple[Kind, random.Random]
"""A fault and its chances, which are the same in whichever lane it is done."""


class Tasks:
    """Pieces: some faults of one setting, so that they can be done to the same run."""

    def __init__(self, kinds: Sequence[Kind], times: int, seed: int) -> None:
        """All are still to be done."""
        settings = sorted({kind.setting for kind in kinds}, reverse=True)  # the longest first
        self._left = [
            (setting, piece)
            for setting in settings
            for piece in _pieces([k for k in kinds if k.setting == setting], times, seed)
        ]
        self._begun: set[str] = set()
        self._taking = threading.Lock()

    def take(self, setting: str) -> list[Task]:
        """The next piece for a lane; [] at the end.

        One of the setting of its run, else of one that no lane has begun with, else any.
        """
        with self._taking:
            if not self._left:
                return []
            ranks = [(s != setting, s in self._begun) for s, _ in self._left]
            begun, piece = self._left.pop(ranks.index(min(ranks)))
            self._begun.add(begun)
            return piece


def _pieces(kinds: Sequence[Kind], times: int, seed: int) -> Iterator[list[Task]]:
    """The faults of one setting, so often each; shuffled after the first time."""
    for time in range(times):
        mixed = list(kinds)
        if time and kinds[0].setting != "elastic":  # a host must be off before it comes back
            random.Random(f"{seed} {time}").shuffle(mixed)
        tasks = [(kind, random.Random(f"{seed} {time} {kind.name}")) for kind in mixed]
        size = PIECE if kinds[0].setting == "folder" else len(tasks)
        yield from (tasks[i : i + size] for i in range(0, len(tasks), size))
