"""What driver and workers tell each other, through an actor on the driver's host.

Workers send progress, errors and where they run; the driver sends the wish to stop.  A worker
listens in a thread, so that asking costs a step nothing.  The actor's process loads what this
module does, while the run waits for it: neither torch nor Ray Train.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.cluster.failure_policy import Verdicts
from pipeline.training.progress import Report

__all__ = ["linked", "listening"]

POLL_S = 0.5
DEAF_S = 30.0
"""A worker that does not hear of the driver for so long is an orphan: it saves and leaves."""
KEPT = 1000


class Link:
    """The state that driver and workers share; as an actor, so one call at a time."""

    def __init__(self) -> None:
        self._reports: deque[Report] = deque(maxlen=KEPT)
        self._verdicts = Verdicts()
        self._hosts: list[str] = []
        self._reasons: dict[int, str] = {}
        self._verdict = ""
        self._stop = False

    def round(self, stopping: bool) -> None:
        """From the driver: another round begins, whose workers are to stop at once or not."""
        self._hosts, self._stop = [], stopping

    def begin(self) -> int:
        """From rank zero: a group of workers begins; its number."""
        return self._verdicts.began()

    def here(self, host: str) -> None:
        """From a worker: the id of the host that it runs on."""
        self._hosts.append(host)

    def report(self, report: Report) -> None:
        """From rank zero: one line of progress."""
        self._reports.append(report)

    def crashed(self, group: int, where: str, told: str) -> None:
        """From a worker of a group: it raised an error."""
        self._verdicts.crashed(group, where, told)

    def ended(self, lost: bool) -> None:
        """From Ray Train's controller: the group has failed."""
        self._hosts = []
        self._verdict = self._verdict or self._verdicts.ended(lost=lost)

    def fail(self, group: int, rank: int, reason: str) -> None:
        """From a worker of a group: a failure that trying again would not mend."""
        if self._verdicts.is_current(group):  # not of a host that was cut off and is back
            self._reasons.setdefault(rank, reason)

    def stop(self) -> None:
        """From the driver: save and leave."""
        self._stop = True

    def stopping(self) -> bool:
        """Whether to save and leave."""
        return self._stop

    def failure(self) -> str:
        """Why the run cannot go on; empty if it can."""
        first = min(self._reasons, default=None)  # rank zero knows best: it writes
        return self._verdict if first is None else self._reasons[first]

    def news(self) -> tuple[list[Report], list[str]]:
        """For the driver: the reports since the last call, and the host of each worker."""
        taken = list(self._reports)
        self._reports.clear()
        return taken, self._hosts


def linked() -> Any:
    """A link on this host: it lives as long as the driver does."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Link).remote()


@contextmanager
def listening(link: Any) -> Iterator[threading.Event]:
    """An event that is set when this worker is to save and leave."""
    stop, done = threading.Event(), threading.Event()

    def listen() -> None:
        while not done.wait(POLL_S):
            try:
                if ray.get(link.stopping.remote(), timeout=DEAF_S):
                    stop.set()
            except Exception:  # the driver is gone, or out of reach, in whatever way Ray says so
                stop.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        done.set()
