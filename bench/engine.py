"""What DeepSpeed adds: three phases through the engine against a bare loop of the same maths."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bench.timing import compare
from pipeline.config import RunConfig
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.config import OptimizerConfig
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import Phase, phases_of
from stylealae.schedule import Progress, at_stage

ADAM = OptimizerConfig()


def bench_engine(cfg: RunConfig, world: World, rounds: int) -> Iterator[dict[str, Any]]:
    """A cell a stage of the run."""
    for stage in range(cfg.last_stage + 1):
        batch = at_stage(cfg.schedule.batch, stage)
        at = Progress(stage=stage, alpha=1.0, batch=batch, lr=1e-4)
        x = torch.rand(batch, cfg.model.channels, at.resolution, at.resolution) * 2 - 1
        sampler = StyleInputSampler(
            seed=0,
            z_width=cfg.model.z_width,
            mixing_prob=cfg.loss.mixing_prob,
            mine=slice(0, batch),
            device=world.device,
        )
        engine = Engine(build(cfg.model), at, cfg, world)
        bare = bare_step(cfg, x, at)

        def through_engine(i: int) -> None:
            for phase in phases_of(cfg.loss):
                engine.step(phase, x, sampler.draw(phase.name, i, at), at)  # noqa: B023

        def through_bare(i: int) -> None:
            for phase in phases_of(cfg.loss):
                bare(phase, i, sampler)  # noqa: B023

        name = f"engine / bare loop, stage {stage}"
        yield compare(name, through_engine, through_bare, rounds=rounds, images=batch)
        engine.close()


def bare_step(
    cfg: RunConfig, x: Tensor, at: Progress
) -> Callable[[Phase, int, StyleInputSampler], None]:
    """One phase in plain torch."""
    nets = build(cfg.model)
    params = {network: list(nets.grown(network, at)) for network in Networks.networks}
    adams = {
        network: torch.optim.Adam(p, lr=at.lr, betas=ADAM.betas, eps=ADAM.eps, fused=True)
        for network, p in params.items()
    }

    def step(phase: Phase, i: int, sampler: StyleInputSampler) -> None:
        nets.requires_grad_(False)
        for network in phase.trains:
            for p in params[network]:
                p.requires_grad_(True)
        phase.loss(nets, x, sampler.draw(phase.name, i, at), at, cfg.loss).backward()
        for network in phase.trains:
            adams[network].step()
            adams[network].zero_grad()

    return step
