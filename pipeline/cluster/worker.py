"""One trainer process: what Ray Train starts on every worker."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import ray
import ray.train

from pipeline.cluster.coordinator import CoordinatorHandle, stop_event
from pipeline.cluster.failure_policy import is_network, reason_to_stop
from pipeline.cluster.gauges import Gauges
from pipeline.config import parse
from pipeline.training.progress import ProgressUpdate

if TYPE_CHECKING:
    from pipeline.storage import Storage
    from pipeline.training.fencing import Fence
    from pipeline.world import World

__all__ = ["WorkerArguments", "train_worker"]


class WorkerArguments(TypedDict):
    """What the driver hands to every worker of a round."""

    config: str
    """The run's config as YAML."""
    stages: range
    """The stages to train, one after the other."""
    coordinator: CoordinatorHandle
    token: str
    """The driver's fencing token."""


def train_worker(arguments: WorkerArguments) -> None:
    """Trains stages until they end or the driver requests it to stop."""
    import torch

    from pipeline.storage import open_storage
    from pipeline.training.trainer import train_stages
    from pipeline.world import joined

    cfg, coordinator = parse(arguments["config"]), arguments["coordinator"]
    if ray.get(coordinator.failure.remote()):
        return  # a retry of something that another try does not mend
    logging.basicConfig(level=logging.WARNING)
    context = ray.train.get_context()
    share = max(1, int(cfg.cluster.cpus_per_worker))  # Ray sets OMP_NUM_THREADS=1
    torch.set_num_threads(cfg.engine.threads or share)
    attempts = Attempts(coordinator, context.get_world_rank())
    with attempts.failures_reported():
        attempts.join()
        storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
        ray.get(coordinator.register_host.remote(ray.get_runtime_context().get_node_id()))
        world = joined(
            cfg.engine, gpu=cfg.cluster.gpus_per_worker > 0, local_rank=context.get_local_rank()
        )
        gauges = Gauges(Path(cfg.run_dir).name)

        def report(update: ProgressUpdate) -> None:
            gauges.show(update)
            coordinator.report.remote(update)

        with stop_event(coordinator) as stop:
            train_stages(
                cfg,
                arguments["stages"],
                world,
                storage,
                fence_of=lambda stage: attempts.fence(stage, arguments["token"], storage, world),
                stop=stop.is_set,
                report=report,
            )


class Attempts:
    """What a rank knows of its group's attempts: each stage is another, with its own number.

    The first is that of what comes before a stage, as finding a GPU.
    """

    def __init__(self, coordinator: CoordinatorHandle, rank: int) -> None:
        self._coordinator, self._rank = coordinator, rank
        self._number = 0

    def join(self) -> None:
        """Learns the number of the group's attempt: what fails from here on is its failure."""
        reservation = ray.get_runtime_context().get_placement_group_id()
        self._number = ray.get(self._coordinator.attempt_of.remote(reservation))

    def fence(self, stage: int, token: str, storage: "Storage", world: "World") -> "Fence | None":
        """Rank zero's fence of a stage, under a new number that all ranks learn.  Collective.

        Earlier attempts lose the right to write.
        """
        from pipeline.training.fencing import Fence

        fence = None
        if self._rank == 0:
            self._number = ray.get(self._coordinator.begin_attempt.remote())
            fence = Fence(storage, token).group(self._number, stage)
        self._number = int(world.first([self._number])[0])
        return fence

    @contextmanager
    def failures_reported(self) -> Iterator[None]:
        """Reports to the coordinator why the block failed, if that is the run's own matter."""
        from pipeline.training.fencing import FencedError

        try:
            yield
        except FencedError:
            raise  # the run is well, in other hands: perhaps in those of this very driver
        except Exception as error:
            if reason := reason_to_stop(error):
                ray.get(self._coordinator.fail_run.remote(self._number, self._rank, reason))
            elif not is_network(error):
                where = " ".join([type(error).__name__, *getattr(error, "__notes__", [])])
                message = f"{type(error).__name__}: {error}"
                ray.get(self._coordinator.worker_crashed.remote(self._number, where, message))
            raise
