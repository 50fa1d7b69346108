"""Jobs as Ray tasks, at most so many at once: how `stylealae sweep` works on a cluster."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import ray
import ray.exceptions

from pipeline.cluster.placement import SAY_S, lacking
from stylealae.errors import ConfigError

__all__ = ["Share", "over_tasks"]

log = logging.getLogger(__name__)

J = TypeVar("J")
STOP_S = 60


@dataclass(frozen=True)
class Share:
    """What a task takes of the cluster; fractions let several share a core or a GPU."""

    cpus: float
    gpus: float


def over_tasks(
    work: Callable[[J], str],
    jobs: Sequence[J],
    at_most: int,
    share: Share,
    *,
    grows: bool = True,
) -> Iterator[tuple[J, str]]:
    """Every job with what `work` says of it, in the order that they end.

    `work` gives back an error, or "".  At most `at_most` jobs are handed to Ray, 0 all of them, and
    it starts those that it can place.  One whose process or host dies is tried again, and a
    task that cannot be saved is an error of its job.  Where no host that is there could ever take
    one, that is said each minute; of a Ray that no host joins (`grows` is false) it is an error.

    Raises:
        ConfigError: no host can take a task, and none will come.
    """
    wants = {"CPU": share.cpus, "GPU": share.gpus}
    if not grows and (lack := lacking(wants)):
        raise ConfigError(f"{lack}: give a run fewer with --cpus and --gpus, or another --ray")
    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=3)(work)
    waiting = deque(jobs)
    pending: dict[ray.ObjectRef, J] = {}
    try:
        while waiting or pending:
            while waiting and len(pending) < (at_most or len(jobs)):
                job = waiting.popleft()
                pending[task.remote(job)] = job
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=SAY_S)
            if not ready and (lack := lacking(wants)):
                log.warning("waiting for a host that can take a run: %s", lack)
            for ended in ready:
                yield pending.pop(ended), _outcome(ended)
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
