"""One trainer process: what Ray Train starts on every worker."""

import logging
from pathlib import Path
from typing import TypedDict

import ray
import ray.train

from pipeline.cluster.coordinator import CoordinatorHandle, stop_event
from pipeline.cluster.failure_policy import is_network, reason_to_stop
from pipeline.cluster.gauges import Gauges
from pipeline.config import parse
from pipeline.training.progress import ProgressUpdate

__all__ = ["WorkerArguments", "train_worker"]


class WorkerArguments(TypedDict):
    """What the driver hands to every worker of a round."""

    config: str
    """The run's config as YAML."""
    stage: int
    coordinator: CoordinatorHandle
    token: str
    """The driver's fencing token."""


def train_worker(arguments: WorkerArguments) -> None:
    """Trains a stage until it ends or the driver requests it to stop."""
    import torch

    from pipeline.storage import open_storage
    from pipeline.training.fencing import Fence, FencedError
    from pipeline.training.trainer import train_stage
    from pipeline.world import joined

    cfg, stage = parse(arguments["config"]), arguments["stage"]
    coordinator = arguments["coordinator"]
    if ray.get(coordinator.failure.remote()):
        return  # a retry of something that another try does not mend
    logging.basicConfig(level=logging.WARNING)
    context = ray.train.get_context()
    share = max(1, int(cfg.cluster.cpus_per_worker))  # Ray sets OMP_NUM_THREADS=1
    torch.set_num_threads(cfg.engine.threads or share)
    fence, group = None, 0
    try:
        storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
        if context.get_world_rank() == 0:  # it writes
            group = ray.get(coordinator.begin_group.remote())
            fence = Fence(storage, arguments["token"]).group(group, stage)
        ray.get(coordinator.register_host.remote(ray.get_runtime_context().get_node_id()))
        world = joined(
            cfg.engine, gpu=cfg.cluster.gpus_per_worker > 0, local_rank=context.get_local_rank()
        )
        group = round(world.each(float(group))[0])  # for all to know
        gauges = Gauges(Path(cfg.run_dir).name)

        def report(update: ProgressUpdate) -> None:
            gauges.show(update)
            coordinator.report.remote(update)

        with stop_event(coordinator) as stop:
            train_stage(
                cfg,
                stage,
                world,
                storage,
                stop=stop.is_set,
                report=report,
                fence=fence,
            )
    except FencedError:
        raise  # the run is well, in other hands: perhaps in those of this very driver
    except Exception as error:
        if reason := reason_to_stop(error):
            ray.get(coordinator.fail_run.remote(group, context.get_world_rank(), reason))
        elif not is_network(error):
            where = " ".join([type(error).__name__, *getattr(error, "__notes__", [])])
            message = f"{type(error).__name__}: {error}"
            ray.get(coordinator.worker_crashed.remote(group, where, message))
        raise
