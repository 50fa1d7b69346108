"""Rates of this machine's device: a few iterations timed, and the cost model fitted to them."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from pipeline.config import RunConfig
from pipeline.data.loader.batch import on_device
from pipeline.planning.cost_model import iteration_s, sections
from pipeline.planning.devices import Rates
from pipeline.planning.stage_plan import StagePlan, stage_plan
from pipeline.training.engine import Engine
from pipeline.world import World, joined
from stylealae.ema import Ema
from stylealae.errors import ConfigError
from stylealae.networks import build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress

__all__ = ["Point", "calibrated", "fitted_to", "measured", "predicted_s"]

BATCHES = {0: (16, 64), 1: (16, 64), 2: (8, 16), 3: (4, 8), 4: (2, 4)}
BATCH = (1, 2)
"""Images of the measured iterations, from stage 5 on."""
ROUNDS = 3
PATIENCE_S = 60.0
"""A stage whose iteration takes longer is the last that is measured."""
START = Rates(device="", fp32_flop_s=1e12, half_flop_s=2e12, byte_s=1e11, launch_s=1e-5)
FITTED = ("fp32_flop_s", "half_flop_s", "byte_s", "launch_s")
STEPS = (8.0, 2.0, 1.3, 1.1, 1.03, 1.01)


@dataclass(frozen=True)
class Point:
    """One iteration that was timed."""

    plan: StagePlan
    seconds: float


def calibrated(
    cfg: RunConfig, stages: Sequence[int], say: Callable[[str], None] = lambda _: None
) -> Rates:
    """Rates of this device, from iterations of these stages in float32 and half precision.

    Raises:
        ConfigError: fewer than two stages, from which no error can be estimated.
    """
    if len(stages) < 2:
        raise ConfigError(f"calibrating takes two stages or more, {list(stages)} were given")
    points: list[Point] = []
    for stage in stages:
        for precision in ("fp32", "bf16"):
            engine = replace(cfg.engine, precision=precision)
            points += measured(replace(cfg, engine=engine), stage)
            last = points[-1]
            rate = last.plan.batch / last.seconds
            say(f"{4 << stage}x{4 << stage}, {precision}: {rate:,.2f} images/s")
        if points[-1].seconds > PATIENCE_S:
            break
    return fitted_to(points, device())


def measured(cfg: RunConfig, stage: int) -> list[Point]:
    """Iterations of one stage as the trainer makes them, on this process's device alone."""
    gpu = torch.cuda.is_available()
    world = joined(cfg.engine, gpu=gpu)
    points = []
    for batch in BATCHES.get(stage, BATCH):
        schedule = replace(cfg.schedule, batch=(batch,))
        alone = replace(
            cfg, schedule=schedule, cluster=replace(cfg.cluster, workers=(1,)),
            engine=replace(cfg.engine, micro_batch=(0,)),
        )  # fmt: skip
        points.append(Point(stage_plan(alone, stage), _timed(alone, stage, batch, world)))
    return points


def _timed(cfg: RunConfig, stage: int, batch: int, world: World) -> float:
    """The median of a few iterations after one to warm up."""
    at = Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=batch, lr=1e-4)
    side = 4 << stage
    images = torch.randint(0, 256, (batch, cfg.model.channels, side, side), dtype=torch.uint8)
    model, loss = sections(stage_plan(cfg, stage))
    nets = build(model).to(world.device)
    ema = Ema(nets, cfg.schedule).to(world.device)
    engine = Engine(nets, at, cfg, world)
    sampler = StyleInputSampler(
        seed=0, z_width=model.z_width, mixing_prob=loss.mixing_prob,
        mine=slice(0, batch), device=world.device,
    )  # fmt: skip

    def once(i: int) -> float:
        since = time.perf_counter()
        x = on_device(images, at.alpha, world.device)
        for phase in phases_of(loss, 0):
            engine.step(phase, x, sampler.draw(phase.name, i, at), at)
        ema.update(engine.nets, sampler.z("w_mean", i, at), at)
        if world.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - since

    try:
        once(0)
        return statistics.median(once(i) for i in range(1, ROUNDS + 1))
    finally:
        engine.close()


def predicted_s(point: Point, rates: Rates) -> float:
    """Seconds that the model gives the iteration of a point: R1 due, in the fade as timed."""
    plan, loss = point.plan, sections(point.plan)[1]
    fading = replace(plan, loss=replace(loss, r1_every=1), fading_img=plan.images)
    return iteration_s(fading, 1, rates)


def fitted_to(points: Sequence[Point], name: str) -> Rates:
    """The rates that miss the points least; their error is that of stages left out of the fit."""
    rates = replace(_fit(points), device=name)  # float32 as it was computed
    misses = []
    for stage in sorted({p.plan.stage for p in points}):
        others = [p for p in points if p.plan.stage != stage]
        if others:
            without = _fit(others)
            misses += [
                abs(predicted_s(p, without) / p.seconds - 1)
                for p in points
                if p.plan.stage == stage
            ]
    return replace(rates, error=round(statistics.median(misses), 3) if misses else 0.0)


def _fit(points: Sequence[Point]) -> Rates:
    """Least squares of the logarithms, one rate after the other with ever finer steps."""

    def miss(rates: Rates) -> float:
        return sum(math.log(predicted_s(p, rates) / p.seconds) ** 2 for p in points)

    best = replace(START, fuses=torch.cuda.is_available())
    least = miss(best)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for name in FITTED:
                for factor in (step, 1 / step):
                    tried = replace(best, **{name: getattr(best, name) * factor})
                    if (found := miss(tried)) < least * (1 - 1e-9):
                        best, least, moved = tried, found, True
    return best


def device() -> str:
    """What this process computes on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"
