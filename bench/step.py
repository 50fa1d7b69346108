"""A whole iteration of the FFHQ network, as a user runs it, against the released step.

Ours is the DeepSpeed engine (ZeRO 1, one process), three phases, Adam and the running average;
theirs is `released.py`, in float32, in a process of its own with the system's own allocator, as
its users run it.  `fast` is bf16 with lazy R1 and merged phases.
"""

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor

from bench.apart import Step, apart
from bench.timing import Lap, cell, race
from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from pipeline.planning.cost_model import OperationCounter
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.config import LossConfig, ModelConfig, OptimizerConfig, ScheduleConfig
from stylealae.ema import Ema
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputs, StyleInputSampler
from stylealae.phases import phases_of
from stylealae.priors import normal, rng
from stylealae.schedule import Progress
from tests.reference.released_step import Released

ADAM = OptimizerConfig()
BATCH = {0: 64, 2: 16, 4: 4, 6: 1, 8: 1}
BUDGET_S = 60.0
"""For the rounds of one stage, at one alpha."""
FFHQ = ModelConfig()
EXACT = LossConfig(reciprocity_trains_f=True)
FAST = LossConfig(merged=True, r1_every=16)
OURS = {
    "fp32": ("fp32", EXACT),
    "bf16": ("bf16", EXACT),
    "fast": ("bf16", FAST),
}
WITH_R1 = "fast, R1 due"
BARE = "bare phases"


def bench_steps(world: World, rounds: int, stages: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Ours against the released step, at each stage, grown and fading."""
    peak = {"fp32": conv_peak(torch.float32), "bf16": conv_peak(torch.bfloat16)}
    for k, v in peak.items():
        yield {"name": f"conv peak, {k}", "ratio": 1.0, "gflop_per_s": round(v)}
    for stage in stages:
        for alpha in (1.0, 0.5) if stage else (1.0,):
            at = Progress(stage=stage, alpha=alpha, batch=BATCH[stage], lr=1e-4)
            yield from bench_stage(world, at, rounds, peak)


def bench_stage(
    world: World, at: Progress, rounds: int, peak: dict[str, float]
) -> list[dict[str, Any]]:
    """One stage: the released step, and ours in every form; where it fades, in two."""
    x = torch.rand(at.batch, 3, at.resolution, at.resolution) * 2 - 1
    grown = at.alpha == 1
    forms = OURS if grown else {name: OURS[name] for name in ("fp32", "bf16")}
    cells = []
    with ours(world, at, x, forms) as steps, apart(theirs, at, x) as released:
        steps = {"released": released, **({BARE: bare(at, x)} if grown else {}), **steps}
        laps = race(steps, rounds, budget_s=BUDGET_S)
        where = f"{at.resolution}x{at.resolution}, alpha {at.alpha:g}"
        if grown:
            share_r1(laps["fast"], laps.pop(WITH_R1))
            cells.append(cell(f"fp32 / {BARE}, {where}", laps["fp32"], laps[BARE], at.batch))
        for name, (precision, loss) in forms.items():
            gflop = gflop_of(at, loss)
            rate = gflop / statistics.median(laps[name].seconds)
            cells.append(
                cell(
                    f"{name} / released, {where}",
                    laps[name],
                    laps["released"],
                    at.batch,
                    batch=at.batch,
                    gflop=round(gflop, 1),
                    gflop_per_s=round(rate),
                    of_conv_peak=round(rate / peak[precision], 3),
                    peak_mib=round(laps[name].peak_mib),
                    released_peak_mib=round(laps["released"].peak_mib),
                )
            )
        return cells


@contextmanager
def ours(
    world: World, at: Progress, x: Tensor, forms: Mapping[str, tuple[str, LossConfig]]
) -> Iterator[dict[str, Step]]:
    """An iteration of ours in these forms."""
    engines = []
    steps: dict[str, Step] = {}
    for name, (precision, loss) in forms.items():
        cfg = RunConfig(
            model=FFHQ, loss=loss, schedule=ScheduleConfig(batch=(at.batch,)),
            engine=EngineConfig(precision=precision, threads=torch.get_num_threads()),
        )  # fmt: skip
        nets = build(FFHQ)
        ema = Ema(nets, cfg.schedule)
        engine = Engine(nets, at, cfg, world)
        engines.append(engine)
        steps[name] = iteration(engine, ema, cfg, at, x, r1=loss.r1_every == 1)
        if loss.r1_every > 1:
            steps[WITH_R1] = iteration(engine, ema, cfg, at, x, r1=True)
    try:
        yield steps
    finally:
        for engine in engines:
            engine.close()


def iteration(
    engine: Engine, ema: Ema, cfg: RunConfig, at: Progress, x: Tensor, *, r1: bool
) -> Step:
    """The trainer's iteration without data and logs, on one where R1 is due or on another."""
    sampler = StyleInputSampler(
        seed=0, z_width=cfg.model.z_width, mixing_prob=cfg.loss.mixing_prob,
        mine=slice(0, at.batch), device=x.device,
    )  # fmt: skip

    def step(i: int) -> None:
        for phase in phases_of(cfg.loss, 0 if r1 else 1):
            engine.step(phase, x, sampler.draw(phase.name, i, at), at)
        ema.update(engine.nets, normal(at.batch, cfg.model.z_width, rng(0, "w_mean", i)), at)

    return step


def bare(at: Progress, x: Tensor) -> Step:
    """The three phases and Adam in plain torch, without an average: what the engine adds to."""
    nets = build(FFHQ)
    params = {network: list(nets.grown(network, at)) for network in Networks.networks}
    adams = {
        network: torch.optim.Adam(held, lr=at.lr, betas=ADAM.betas, eps=ADAM.eps, fused=True)
        for network, held in params.items()
    }
    sampler = StyleInputSampler(
        seed=0, z_width=FFHQ.z_width, mixing_prob=EXACT.mixing_prob,
        mine=slice(0, at.batch), device=x.device,
    )  # fmt: skip

    def step(i: int) -> None:
        for phase in phases_of(EXACT):
            for network in Networks.networks:
                for p in params[network]:
                    p.requires_grad_(network in phase.trains)
            phase.loss(nets, x, sampler.draw(phase.name, i, at), at, EXACT).backward()
            for network in phase.trains:
                adams[network].step()
                adams[network].zero_grad()

    return step


def theirs(at: Progress, x: Tensor) -> Step:
    """An iteration of the released step."""
    nets, average = Released(FFHQ), Released(FFHQ)
    adams = nets.adams()
    return lambda _: nets.step(x, at.stage, at.alpha, adams, average)


def share_r1(without: Lap, due: Lap) -> None:
    """Spreads the cost of a lazy R1 over the iterations that it stands for."""
    every = FAST.r1_every
    for mine, other in ((without.seconds, due.seconds), (without.cpu, due.cpu)):
        mine[:] = [((every - 1) * a + b) / every for a, b in zip(mine, other, strict=True)]
    without.peak_mib = max(without.peak_mib, due.peak_mib)


def gflop_of(at: Progress, loss: LossConfig) -> float:
    """Arithmetic of our iteration without lazy R1's share, counted on tensors without content."""
    with torch.device("meta"):
        nets = build(FFHQ)
        x = torch.empty(1, 3, at.resolution, at.resolution)
        z = torch.empty(1, FFHQ.z_width)
        crossover = torch.ones(1)
    one = replace(at, batch=1)
    r = StyleInputs(z=z, z_other=z, crossover=crossover, noise=None)
    count = OperationCounter()
    with count:
        for phase in phases_of(loss, 0 if loss.r1_every == 1 else 1):
            for network in "FGED":
                for p in nets.grown(network, one):
                    p.requires_grad_(network in phase.trains)
            phase.loss(nets, x, r, one, loss).backward()
    return sum(count.flop) * at.batch / 1e9


def conv_peak(dtype: torch.dtype) -> float:
    """GFLOP/s of the best of a few 3x3 convolutions, forward and backward: what is to be had."""
    best = 0.0
    for n, c, side in ((4, 256, 64), (8, 512, 32), (1, 64, 256)):
        x = torch.randn(n, c, side, side, dtype=dtype, requires_grad=True)
        w = torch.randn(c, c, 3, 3, dtype=dtype, requires_grad=True)
        g = torch.randn(n, c, side, side, dtype=dtype)

        def both(_: int) -> object:
            return torch.autograd.grad(fn.conv2d(x, w, padding=1), (x, w), g)  # noqa: B023

        seconds = min(race({"conv": both}, 3)["conv"].seconds)
        best = max(best, 3 * 2 * 9 * c * c * side * side * n / seconds / 1e9)
    return best
