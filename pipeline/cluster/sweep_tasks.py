"""Jobs as Ray tasks, at most so many at once: how `stylealae sweep` works on a cluster."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import ray
import ray.exceptions

__all__ = ["Share", "over_tasks"]

J = TypeVar("J")
STOP_S = 60


@dataclass(frozen=True)
class Share:
    """What a task takes of the cluster; fractions let several share a core or a GPU."""

    cpus: float
    gpus: float


def over_tasks(
    work: Callable[[J], str], jobs: Sequence[J], at_most: int, share: Share
) -> Iterator[tuple[J, str]]:
    """Every job with what `work` says of it, in the order that they end.

    `work` gives back an error, or "".  At most `at_most` jobs are handed to Ray, 0 all of them, and
    it starts those that it can place.  One whose process or host dies is tried again, and a
    task that cannot be saved is an error of its job.
    """
    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=3)(work)
    waiting = deque(jobs)
    pending: dict[ray.ObjectRef, J] = {}
    try:
        while waiting or pending:
            while waiting and len(pending) < (at_most or len(jobs)):
                job = waiting.popleft()
                pending[task.remote(job)] = job
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            yield pending.pop(ready), _outcome(ready)
    finally:
        for left in pending:
            ray.cancel(left)  # a KeyboardInterrupt: the run saves and ends
        if pending:
            ray.wait(list(pending), num_returns=len(pending), timeout=STOP_S)


def _outcome(task: ray.ObjectRef) -> str:
    try:
        return str(ray.get(task))
    except ray.exceptions.RayError as error:
        return f"its task died: {type(error).__name__}"
