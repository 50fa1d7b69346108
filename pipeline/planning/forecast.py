"""What a run will take: hours, money, memory, data and checkpoints of every stage."""

from dataclasses import dataclass, replace

from pipeline.config import RunConfig
from pipeline.config.world_sizes import allowed
from pipeline.planning.cost_model import checkpoint_bytes, iteration_s
from pipeline.planning.devices import Rates
from pipeline.planning.memory import need
from stylealae.errors import ConfigError
from stylealae.schedule import at_stage

__all__ = ["Forecast", "forecast", "shared_among"]

RAW_UP_TO = 256
"""Resolution up to which images are stored as raw pixels."""
LOSSLESS = 0.19
"""Bytes of a lossless WebP of a face at 1024x1024, per byte of raw pixels; measured on FFHQ."""
HOUR_S = 3600


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One stage."""

    stage: int
    images: int
    batch: int
    workers: int
    micro: int
    """Images that a worker holds at once."""
    worker_bytes: int
    img_per_s: float
    hours: float
    cost: float
    """Of all GPUs that are paid for, also of those that this stage leaves idle."""
    read_bytes: int
    """Stored size of the images shown; what a host keeps in memory or cache is fetched once."""
    checkpoint_bytes: int


def shared_among(cfg: RunConfig, gpus: int) -> RunConfig:
    """The config with as many workers in each stage as share its batch evenly, at most `gpus`."""
    if gpus < 1:
        raise ConfigError(f"--gpus is {gpus}: give at least 1")
    stages = cfg.stages
    counts = tuple(
        allowed(f"1..{gpus}", batch=at_stage(cfg.schedule.batch, stage), micro_batch=0)[-1]
        for stage in stages
    )
    micro = tuple(
        _part(at_stage(cfg.schedule.batch, s) // n, at_stage(cfg.engine.micro_batch, s))
        for s, n in zip(stages, counts, strict=True)
    )
    cluster = replace(cfg.cluster, workers=counts)
    return replace(cfg, cluster=cluster, engine=replace(cfg.engine, micro_batch=micro))


def _part(share: int, most: int) -> int:
    """The largest part of a share that is no larger than asked for; 0 asks for all of it."""
    return max(n for n in range(1, min(share, most or share) + 1) if share % n == 0)


def forecast(cfg: RunConfig, stage: int, rates: Rates, *, paid: int, price: float) -> Forecast:
    """One stage of a run on `paid` GPUs at `price` an hour each."""
    first, end = cfg.span(stage)
    batch, workers = at_stage(cfg.schedule.batch, stage), cfg.worker_counts(stage)[-1]
    share = batch // workers
    seconds = iteration_s(cfg, stage, workers, rates)
    hours = (end - first) / batch * seconds / HOUR_S
    side = 4 << stage
    stored = cfg.model.channels * side * side * (1.0 if side <= RAW_UP_TO else LOSSLESS)
    return Forecast(
        stage=stage,
        images=end - first,
        batch=batch,
        workers=workers,
        micro=min(at_stage(cfg.engine.micro_batch, stage) or share, share),
        worker_bytes=need(cfg, stage),
        img_per_s=batch / seconds,
        hours=hours,
        cost=hours * paid * price,
        read_bytes=int((end - first) * stored),
        checkpoint_bytes=checkpoint_bytes(cfg, stage),
    )
