"""Placement: the stages that a group of workers trains, and how many workers Ray can place.

Capacity is found by reserving it.  A reservation (a placement group) counts what is really free,
leaves out hosts that are being drained, and, while it waits, is what an autoscaler adds hosts for
and keeps idle ones for until the others are there.  So one stands for as long as is waited.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

import ray
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from pipeline.config import RunConfig
from stylealae.errors import ConfigError

__all__ = [
    "Bundle",
    "ScaleUp",
    "can_place",
    "choose_workers",
    "draining_hosts",
    "lacking",
    "stages_together",
]

Bundle = Mapping[str, float]
"""What one worker takes, by Ray's names of resources."""
POLL_S = 1.0
SAY_S = 60.0
"""Who waits for room says so again after so long."""


def stages_together(cfg: RunConfig, stage: int) -> range:
    """This stage and those after it that may have the same numbers of workers, so one group."""
    if cfg.engine.zero_stage == 3:  # DeepSpeed would keep every stage's networks in memory
        return range(stage, stage + 1)
    counts, onwards = cfg.worker_counts(stage), range(stage, cfg.last_stage + 1)
    return range(stage, max(takewhile(lambda s: cfg.worker_counts(s) == counts, onwards)) + 1)


def choose_workers(
    counts: Sequence[int],
    fits: Callable[[int, Callable[[], bool]], bool],
    *,
    settle_s: float,
    patience_s: float,
    waiting: Callable[[], None],
    stopped: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> int | None:
    """The number of workers to go on with: the wanted one, else the most that can be placed.

    Args:
        counts: the numbers allowed, the wanted one last.
        fits: whether so many can be placed before its second argument says that it is over.
        settle_s: how long the wanted number is waited for before fewer will do.
        patience_s: how long even the fewest are waited for.
        waiting: called when even the fewest must be waited for, and each minute while they are.
        stopped: whether to give up waiting; None is returned then.
        clock: the time in seconds.

    Raises:
        ConfigError: not even the fewest could be placed for so long.
    """
    since, say_at = clock(), clock()

    def until(end: float) -> Callable[[], bool]:
        return lambda: stopped() or clock() >= end

    def patient() -> bool:
        nonlocal say_at
        if clock() >= say_at:
            say_at = clock() + SAY_S
            waiting()
        return until(since + patience_s)()

    if not stopped() and fits(counts[-1], until(since + max(settle_s, POLL_S))):
        return counts[-1]
    while not stopped():
        for count in reversed(counts):
            if fits(count, until(clock() + POLL_S)):
                return count
        if clock() - since > patience_s:
            raise ConfigError(
                f"no room for {counts[0]} workers in {patience_s:g} s (cluster.patience_s): change "
                "cluster.workers, cluster.cpus_per_worker or cluster.gpus_per_worker, or add hosts"
            )
        fits(counts[0], patient)  # then the most is asked for again
    return None


def can_place(bundle: Bundle, count: int, over: Callable[[], bool]) -> bool:
    """Whether Ray can place so many workers; its request stands until `over` says so."""
    group = placement_group([dict(bundle)] * count)
    try:
        while not group.wait(POLL_S):
            if over():
                return False
        return True
    finally:
        remove_placement_group(group)


def lacking(wants: Bundle, count: int = 1) -> str:
    """What the hosts that are there could not give if they had nothing else to do; "" if nothing.

    Each of `count` workers or tasks has to find what it wants on one host.
    """
    wanted = {kind: amount for kind, amount in wants.items() if amount}
    hosts = [host["Resources"] for host in ray.nodes() if host["Alive"]]
    room = sum(
        int(min((h.get(kind, 0.0) / amount for kind, amount in wanted.items()), default=count))
        for h in hosts
    )
    if room >= count:
        return ""
    asked = " and ".join(f"{amount:g} {kind}" for kind, amount in wanted.items())
    most = ", ".join(f"{max(h.get(kind, 0.0) for h in hosts):g} {kind}" for kind in wanted)
    return (
        f"asked for {asked} on one host, {count} times, and this Ray has room for {room}: of its "
        f"{len(hosts)} hosts none has more than {most}"
    )


class ScaleUp:
    """A standing request for the workers that a stage lacks."""

    def __init__(self, bundle: Bundle, lacking: int, settle_s: float) -> None:
        """Requests nothing yet."""
        self._bundles, self._settle_s = [dict(bundle)] * lacking, settle_s
        self._since: float | None = None
        self._group: PlacementGroup | None = None

    def update(self, *, complete: bool) -> None:
        """Requests capacity, of Ray and through it of an autoscaler, while all workers are placed.

        A group that is about to be placed must not find its own capacity taken by this request.
        """
        if not complete:
            self.close()
        elif self._bundles and self._group is None:
            self._group = placement_group(self._bundles)

    def due(self) -> bool:
        """Whether the capacity has been there for long enough to stop and take it."""
        if self._group is None:
            return False
        if placement_group_table(self._group)["state"] != "CREATED":
            self._since = None
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since >= self._settle_s

    def close(self) -> None:
        """Gives back what was reserved."""
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = self._since = None


def draining_hosts() -> set[str]:
    """Ids of the hosts that are about to be taken away."""
    # As Ray Train's own watcher does; `get_preemption_info` would make all ranks wait.
    return set(ray._private.state.state.get_draining_nodes())
