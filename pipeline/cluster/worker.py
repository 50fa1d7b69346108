"""One trainer process: what Ray Train starts on every worker."""

import logging
from typing import Any

import ray
import ray.train

from pipeline.cluster.coordinator import listening
from pipeline.cluster.failure_policy import is_network, mendable
from pipeline.config import parse

__all__ = ["work"]


def work(job: dict[str, Any]) -> None:
    """Trains a stage until it ends or the driver says stop.

    Args:
        job: `config` as YAML, `stage`, the `link`, and the driver's fencing `token`.
    """
    import torch

    from pipeline.storage import open_storage
    from pipeline.training.engine import joined
    from pipeline.training.fencing import Fence, FencedError
    from pipeline.training.trainer import train_stage

    cfg, link, stage = parse(job["config"]), job["link"], job["stage"]
    if ray.get(link.failure.remote()):
        return  # a retry of something that trying again does not mend
    logging.basicConfig(level=logging.WARNING)
    context = ray.train.get_context()
    share = max(1, int(cfg.cluster.cpus_per_worker))  # Ray sets OMP_NUM_THREADS=1
    torch.set_num_threads(cfg.engine.threads or share)
    fence, group = None, 0
    try:
        storage = open_storage(cfg.run_dir, cfg.checkpoint.patience_s)
        if context.get_world_rank() == 0:  # it writes
            group = ray.get(link.begin.remote())
            fence = Fence(storage, job["token"]).group(group, stage)
        ray.get(link.here.remote(ray.get_runtime_context().get_node_id()))
        world = joined(
            cfg.engine, gpu=cfg.cluster.gpus_per_worker > 0, local_rank=context.get_local_rank()
        )
        group = round(world.each(float(group))[0])  # for all to know
        with listening(link) as stop:
            train_stage(
                cfg,
                stage,
                world,
                storage,
                stop=stop.is_set,
                report=lambda line: link.report.remote(line) and None,
                fence=fence,
            )
    except FencedError:
        raise  # the run is well, in other hands: perhaps in those of this very driver
    except Exception as error:
        if reason := mendable(error):
            ray.get(link.fail.remote(group, context.get_world_rank(), reason))
        elif not is_network(error):
            where = " ".join([type(error).__name__, *getattr(error, "__notes__", [])])
            ray.get(link.crashed.remote(group, where, f"{type(error).__name__}: {error}"))
        raise
