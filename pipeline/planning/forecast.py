"""What a run will take: hours, money, memory, data and checkpoints of every stage."""

from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.config import RunConfig
from pipeline.config.world_sizes import allowed
from pipeline.planning.cost_model import checkpoint_bytes, iteration_s
from pipeline.planning.devices import Rates
from pipeline.planning.memory import need
from pipeline.planning.stage_plan import StagePlan, stage_plans
from stylealae.errors import ConfigError
from stylealae.schedule import at_stage

__all__ = ["HOUR_S", "Forecast", "Outlook", "forecast", "shared_among"]

RAW_UP_TO = 256
"""Resolution up to which images are stored as raw pixels."""
LOSSLESS = 0.19
"""Bytes of a lossless WebP of a face at 1024x1024, per byte of raw pixels; measured on FFHQ."""
HOUR_S = 3600


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one stage takes."""

    worker_bytes: int
    img_per_s: float
    hours: float
    cost: float
    """Of all GPUs that are paid for, also of those that this stage leaves idle."""
    read_bytes: int
    """Stored size of the images shown; what a host keeps in memory or cache is fetched once."""
    checkpoint_bytes: int


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A run, the devices that are to train it, and what they cost: what is asked of a forecast."""

    cfg: RunConfig
    rates: Rates | None = None
    """Speed of a device; without it only the stages and their memory are known."""
    gpus: int = 0
    """Devices that are paid for; 0: as many as the stage with the most of them has."""
    price: float = 0.0
    """Of one device and hour, in any currency."""

    @cached_property
    def plans(self) -> tuple[StagePlan, ...]:
        """The stages of the run."""
        return stage_plans(self.cfg)

    @property
    def paid(self) -> int:
        """Devices that are paid for."""
        return self.gpus or max(plan.workers for plan in self.plans)


def shared_among(cfg: RunConfig, gpus: int) -> RunConfig:
    """The config with as many workers in each stage as share its batch evenly, at most `gpus`."""
    if gpus < 1:
        raise ConfigError(f"--gpus is {gpus}: give at least 1")
    stages = cfg.stages if len(cfg.stages) == 1 else range(cfg.last_stage + 1)  # as lists are read
    counts = tuple(
        allowed(f"1..{gpus}", batch=at_stage(cfg.schedule.batch, stage), micro_batch=0)[-1]
        for stage in stages
    )
    micro = tuple(
        _divisor(at_stage(cfg.schedule.batch, s) // n, at_stage(cfg.engine.micro_batch, s))
        for s, n in zip(stages, counts, strict=True)
    )
    cluster = replace(cfg.cluster, workers=counts)
    return replace(cfg, cluster=cluster, engine=replace(cfg.engine, micro_batch=micro))


def _divisor(share: int, most: int) -> int:
    """The largest divisor of a share that is at most `most`; the share itself if that is 0."""
    return max(n for n in range(1, min(share, most or share) + 1) if share % n == 0)


def forecast(plan: StagePlan, rates: Rates, *, paid: int, price: float) -> Forecast:
    """One stage of a run on `paid` GPUs at `price` an hour each."""
    seconds = iteration_s(plan, plan.workers, rates)
    hours = plan.images / plan.batch * seconds / HOUR_S
    side = plan.resolution
    stored = plan.model.channels * side * side * (1.0 if side <= RAW_UP_TO else LOSSLESS)
    return Forecast(
        worker_bytes=need(plan),
        img_per_s=plan.batch / seconds,
        hours=hours,
        cost=hours * paid * price,
        read_bytes=int(plan.images * stored),
        checkpoint_bytes=checkpoint_bytes(plan),
    )
