"""Measurements, as ratios in one run: `make bench` prints a table and writes build/bench.json.

Each pair is timed in turn, A B A B, and the ratio is that of the medians.  `ARGS=--quick` takes
fewer rounds and stages, `ARGS="--only step"` one part.  docs/performance.md says how to read it.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RunConfig, load
from pipeline.engine import Engine, joined
from pipeline.world import World
from stylealae.config import ModelConfig, OptimizerConfig
from stylealae.draws import Chance
from stylealae.networks import Networks, build
from stylealae.phases import Phase, phases_of
from stylealae.schedule import Progress, at_stage
from tests.bench.checkpoint import bench_checkpoint
from tests.bench.cluster import bench_cluster
from tests.bench.driver import bench_driver
from tests.bench.family import bench_family
from tests.bench.memory import bench_memory
from tests.bench.plan import bench_plan
from tests.bench.prepare import bench_prepare
from tests.bench.step import bench_steps
from tests.bench.stream import bench_opening, bench_shuffle, bench_stream
from tests.bench.studio import bench_studio
from tests.bench.timing import compare
from tests.bench.wait import bench_wait

ROOT = Path(__file__).resolve().parents[2]
ADAM = OptimizerConfig()
PARTS = (
    *(
        "checkpoint",
        "driver",
        "engine",
        "family",
        "memory",
        "plan",
        "prepare",
        "ray",
        "step",
        "stream",
    ),
    *("studio", "wait"),
)


def bench_engine(cfg: RunConfig, world: World, rounds: int) -> list[dict[str, Any]]:
    """The three phases through DeepSpeed against a bare loop of the same maths."""
    cells = []
    for stage in range(cfg.last_stage + 1):
        batch = at_stage(cfg.schedule.batch, stage)
        at = Progress(stage=stage, alpha=1.0, batch=batch, lr=1e-4)
        x = torch.rand(batch, cfg.model.channels, at.resolution, at.resolution) * 2 - 1
        chance = Chance(
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
                engine.step(phase, x, chance.draw(phase.name, i, at), at)  # noqa: B023

        def through_bare(i: int) -> None:
            for phase in phases_of(cfg.loss):
                bare(phase, i, chance)  # noqa: B023

        name = f"engine / bare loop, stage {stage}"
        cells.append(compare(name, through_engine, through_bare, rounds=rounds, images=batch))
        engine.close()
    return cells


def bare_step(cfg: RunConfig, x: Tensor, at: Progress) -> Callable[[Phase, int, Chance], None]:
    """One phase in plain torch."""
    nets = build(cfg.model)
    params = {letter: list(nets.grown(letter, at)) for letter in Networks.letters}
    adams = {
        letter: torch.optim.Adam(p, lr=at.lr, betas=ADAM.betas, eps=ADAM.eps, fused=True)
        for letter, p in params.items()
    }

    def step(phase: Phase, i: int, chance: Chance) -> None:
        nets.requires_grad_(False)
        for letter in phase.trains:
            for p in params[letter]:
                p.requires_grad_(True)
        phase.loss(nets, x, chance.draw(phase.name, i, at), at, cfg.loss).backward()
        for letter in phase.trains:
            adams[letter].step()
            adams[letter].zero_grad()

    return step


def main() -> None:
    """Runs every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and stages")
    parser.add_argument("--only", choices=PARTS, help="one part")
    given = parser.parse_args()
    threads = torch.get_num_threads()
    cfg = load(ROOT / "configs/demo.yaml", ["cluster.workers=[1]", f"engine.threads={threads}"])
    world = joined(cfg.engine, gpu=False)
    cells: list[dict[str, Any]] = []
    if given.only in (None, "engine"):
        cells += bench_engine(cfg, world, 5 if given.quick else 25)
    if given.only in (None, "family"):
        with tempfile.TemporaryDirectory() as folder:
            cells += bench_family(world, Path(folder), 1 if given.quick else 3)
    if given.only in (None, "step"):
        cells += bench_steps(world, *((1, (0, 4, 8)) if given.quick else (3, (0, 2, 4, 6, 8))))
    if given.only in (None, "memory") and not (given.quick and given.only is None):
        cells += bench_memory(world)
    if given.only in (None, "stream"):
        cells += bench_shuffle()
        with tempfile.TemporaryDirectory() as folder:
            cells += bench_opening(Path(folder) / "huge")
            rounds, seconds = (3, 0.3) if given.quick else (5, 1.0)
            cells += bench_stream(Path(folder), rounds, seconds)
    if given.only in (None, "studio"):
        cells += bench_studio(3 if given.quick else 10)
    if given.only in (None, "prepare") and not (given.quick and given.only is None):
        cells += bench_prepare(compare, 3)
    if given.only in (None, "checkpoint"):
        small = ModelConfig(resolution=64)
        cells += bench_checkpoint(world, small if given.quick else ModelConfig(), 3)
    if given.only == "driver" or (given.only is None and not given.quick):
        cells += bench_driver()
    if given.only in (None, "wait"):
        cells += bench_wait(ROOT / "configs/demo.yaml", world)
    if given.only == "plan":
        cells += bench_plan(load(ROOT / "configs/ffhq_1024.yaml"), given.quick)
    if given.only == "ray":
        with tempfile.TemporaryDirectory() as folder:
            cells += bench_cluster(Path(folder), 1 if given.quick else 3)
    facts = {"machine": machine(), "cores": os.cpu_count(), "threads": threads}
    out = ROOT / "build" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({**facts, "torch": torch.__version__, "cells": cells}, indent=2))
    print(facts)
    for row in cells:
        ratio = f"{row['ratio']:>7}x" if "ratio" in row else " " * 8
        print(f"{row['name']:56} {ratio}  {'  '.join(_further(row))}")
    print(out)


def _further(row: dict[str, Any]) -> Iterator[str]:
    """What else a row tells."""
    if "took_s" in row:
        first = f", the first time {row['first_s']} s" if "first_s" in row else ""
        yield f"{row['took_s']} s{first}"
    if "mib" in row:
        yield f"{row['mib']:,} MiB"
    if "seconds" in row:
        yield f"{row['seconds']} s, {row['peak_mib'] - row['of_it_imports_mib']} MiB"
        return
    if "waited" in row:
        yield f"{row['waited']:.2%} of its time, at most {row['waited_most']:.2%}"
        yield f"{1000 * row['step_s']:.0f} ms a step"
        return
    if "pairs_kept" in row:
        yield f"moved by {row['mean_displacement']:.3f} of an epoch, {row['pairs_kept']:.2%} kept"
    if "asked" in row:
        yield f"of {row['asked']}x asked"
    if "a_img_per_s" in row:
        yield f"{row['a_img_per_s']:,} img/s"
    if "limit_img_per_s" in row:
        yield f"of {row['limit_img_per_s']:,} copied"
    if "gflop_per_s" in row:
        yield f"{row['gflop_per_s']:,} GFLOP/s"
    if "of_conv_peak" in row:
        yield f"{row['of_conv_peak']:.0%} of the convolutions' peak"
    if "peak_mib" in row:
        yield f"{row['peak_mib'] / 1024:.1f} GiB"


def machine() -> str:
    """The processor's name."""
    facts = Path("/proc/cpuinfo")
    names = [line for line in facts.read_text().splitlines() if "model name" in line]
    return names[0].partition(":")[2].strip() if names else platform.machine()


if __name__ == "__main__":
    main()
