"""What transformed images for D∘E cost: a stage's iteration with them against one without."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from bench.timing import compare
from pipeline.config import RunConfig
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.config import AugmentConfig
from stylealae.networks import build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress, at_stage

AUGMENT = AugmentConfig(mode="fixed", p=0.5)


def bench_augment(cfg: RunConfig, world: World, rounds: int) -> Iterator[dict[str, Any]]:
    """A cell a stage of the run."""
    for stage in cfg.stages:
        batch = at_stage(cfg.schedule.batch, stage)
        at = Progress(stage=stage, batch=batch, lr=1e-4)
        x = torch.rand(batch, cfg.model.channels, at.resolution, at.resolution) * 2 - 1
        mine = slice(0, batch)
        sampler = StyleInputSampler(
            seed=0, z_width=cfg.model.z_width, mine=mine, device=world.device
        )
        engine = Engine(build(cfg.model), at, cfg, world)
        under, plain = (_iteration(engine, cfg, sampler, x, at, t) for t in (True, False))
        yield compare(
            f"transformed / plain images, stage {stage}", under, plain, rounds=rounds, images=batch
        )
        engine.close()


def _iteration(
    engine: Engine,
    cfg: RunConfig,
    sampler: StyleInputSampler,
    x: torch.Tensor,
    at: Progress,
    under: bool,
) -> Callable[[int], None]:
    def iteration(i: int) -> None:
        for phase in phases_of(cfg.loss):
            r = sampler.draw(phase.name, i, at)
            if under:
                t, t_fake = (
                    sampler.transforms(f"{phase.name}/{x}", i, at, AUGMENT, AUGMENT.p)
                    for x in ("real", "fake")
                )
                r = replace(r, t=t, t_fake=t_fake)
            engine.step(phase, x, r, at)

    return iteration
