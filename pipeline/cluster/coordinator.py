"""The actor through which driver and workers exchange messages, on the driver's host.

Workers report progress, errors and the host that they run on; the driver requests them to stop.  A
worker polls in a thread, so that it costs a step nothing.  The actor's process loads what this
module does, while the run waits for it: neither torch nor Ray Train.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.cluster.failure_policy import FailurePolicy
from pipeline.training.progress import ProgressUpdate

__all__ = ["CoordinatorHandle", "start_coordinator", "stop_event"]

CoordinatorHandle = Any  # Ray makes a handle's methods at run time: they have no type to name
POLL_S = 0.5
ORPHANED_S = 30.0
"""A worker that cannot reach the driver for so long is an orphan: it saves and leaves."""
KEPT = 1000


class Coordinator:
    """The state that driver and workers share; as an actor, so one call at a time."""

    def __init__(self) -> None:
        self._updates: deque[ProgressUpdate] = deque(maxlen=KEPT)
        self._policy = FailurePolicy()
        self._hosts: list[str] = []
        self._reservation: PlacementGroup | None = None
        self._attempt = 0
        self._reasons: dict[int, str] = {}
        self._final_failure = ""
        self._ending = self._stopped = False

    def begin_round(self) -> None:
        """From the driver: another round begins."""
        self._hosts, self._ending = [], False

    def begin_group(self, reservation: PlacementGroup) -> None:
        """From Ray Train's controller: a group of workers begins, in its reservation."""
        self._reservation = reservation
        self.begin_attempt()

    def begin_attempt(self) -> int:
        """From rank zero: a stage of its group begins; the attempt's number."""
        self._attempt = self._policy.began()
        return self._attempt

    def attempt_of(self, reservation: str | None) -> int:
        """From a worker: the number of its group's attempt, by its reservation's id.

        It is 0, that of no attempt, if another group has begun since.
        """
        known = self._reservation
        return self._attempt if known and known.id.hex() == reservation else 0

    def register_host(self, host: str) -> None:
        """From a worker: the id of the host that it runs on."""
        self._hosts.append(host)

    def report(self, update: ProgressUpdate) -> None:
        """From rank zero: its progress."""
        self._updates.append(update)

    def worker_crashed(self, group: int, where: str, message: str) -> None:
        """From a worker, in an attempt of its group: it raised an error."""
        self._policy.crashed(group, where, message)

    def reservation(self) -> PlacementGroup | None:
        """For the driver: the reservation of the group that began last."""
        return self._reservation

    def group_failed(self, lost: bool) -> str:
        """From Ray Train's controller: the group has failed; why no other can do better, if so."""
        self._hosts = []
        self._final_failure = self._final_failure or self._policy.failed(lost=lost)
        return self.failure()

    def fail_run(self, group: int, rank: int, reason: str) -> None:
        """From a worker of a group: a failure that another try would not mend."""
        if self._policy.is_current(group):  # not of a host that was cut off and is back
            self._reasons.setdefault(rank, reason)

    def end_round(self) -> None:
        """From the driver: the workers of this round are to save and leave."""
        self._ending = True

    def stop(self) -> None:
        """From the driver: workers are to save and leave, those of a round that begins as well."""
        self._stopped = True

    def stopping(self) -> bool:
        """Whether workers are to save and leave."""
        return self._ending or self._stopped

    def failure(self) -> str:
        """Why the run cannot go on; empty if it can."""
        first = min(self._reasons, default=None)  # rank zero knows best: it writes
        return self._final_failure if first is None else self._reasons[first]

    def poll(self) -> tuple[list[ProgressUpdate], list[str]]:
        """For the driver: progress since the last call, and the host of each worker."""
        taken = list(self._updates)
        self._updates.clear()
        return taken, self._hosts


def start_coordinator() -> CoordinatorHandle:
    """A coordinator on this host: it lives as long as the driver does."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Coordinator).remote()


@contextmanager
def stop_event(coordinator: CoordinatorHandle) -> Iterator[threading.Event]:
    """An event that is set when this worker is to save and leave."""
    stop, done = threading.Event(), threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            try:
                if ray.get(coordinator.stopping.remote(), timeout=ORPHANED_S):
                    stop.set()
            except Exception:  # the driver is gone, or out of reach, in whatever way Ray says so
                stop.set()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        done.set()
