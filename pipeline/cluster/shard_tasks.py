"""Shards as Ray tasks, one each: how `stylealae prepare` works on a cluster."""

import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress

import ray
import ray.exceptions
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.data.prepare.jobs import ShardJob, ShardNote
from pipeline.data.prepare.processes import OnProgress, Work, packed, unpacked
from pipeline.data.sources.source import Source
from stylealae.errors import DataError, UserError

__all__ = ["over_tasks"]

POLL_S = 0.5
STOP_S = 60


class Tally:
    """How many images each unfinished job has done, for who watches; as an actor."""

    def __init__(self) -> None:
        self._done: dict[int, int] = {}

    def set(self, number: int, images: int) -> None:
        """From a task: so many images of its job are done."""
        self._done[number] = images

    def done(self) -> dict[int, int]:
        """Images done by number of the job."""
        return self._done


def over_tasks(
    source: Source, work: Work, jobs: Sequence[ShardJob], workers: int, report: OnProgress
) -> Generator[ShardNote]:
    """A Runner on the Ray that is connected; input and output must be where all its nodes look."""
    run = ray.remote(num_cpus=1)(_run)
    tally = _tally()
    waiting = deque(range(len(jobs)))
    pending: dict[ray.ObjectRef, int] = {}  # a task's result -> number of its job
    finished_img = 0
    done: dict[int, int] = {}
    try:
        while waiting or pending:
            capacity = (workers or _cores()) - len(pending)
            for _ in range(min(capacity, len(waiting))):
                number = waiting.popleft()
                given = packed(source, jobs[number])
                pending[run.remote(work, given, jobs[number], tally, number)] = number
            ready, _ = ray.wait(list(pending), timeout=POLL_S)
            for task in ready:
                finished_img += jobs[pending.pop(task)].images
                yield _note(task)
            with suppress(ray.exceptions.RayError):  # it is being restarted: shards go on
                done = ray.get(tally.done.remote(), timeout=STOP_S)
            report(finished_img + sum(done.get(number, 0) for number in pending.values()))
    finally:
        for task in pending:
            ray.cancel(task)  # a KeyboardInterrupt: it removes what it had begun to write
        if pending:
            ray.wait(list(pending), num_returns=len(pending), timeout=STOP_S)
        ray.kill(tally)


def _tally() -> ActorHandle:
    """A tally on this host, which lives as long as the driver does; its process may be killed."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    made = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Tally)
    tally: ActorHandle = made.remote()
    return tally


def _run(work: Work, given: bytes, job: ShardJob, tally: ActorHandle, number: int) -> ShardNote:
    """The work of one job, on whichever node has a core."""
    done, sent = 0, time.monotonic()

    def tick(images: int = 1) -> None:
        nonlocal done, sent
        done += images
        if time.monotonic() > sent + POLL_S:
            sent = time.monotonic()
            tally.set.remote(number, done)

    return work(unpacked(given), job, tick)


def _note(task: ray.ObjectRef) -> ShardNote:
    """What a task gave back; its error as it would be without Ray."""
    try:
        note: ShardNote = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (UserError, OSError)):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise DataError(
            f"a Ray task died ({type(error).__name__}), perhaps for want of memory: run the same "
            "command with fewer --workers, finished shards are kept"
        ) from error
    return note


def _cores() -> int:
    """The cores of all nodes that are there now."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)
