"""An epoch of an MLP family through the whole trainer against the bare maths.

Ours is `train_stage`: the loader, DeepSpeed, the draws, the running average, the log.  Theirs is a
loop over the same phases in plain torch, an optimiser a phase, on one batch that never changes.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.timing import Lap, cell
from pipeline.config import RunConfig, parse
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.trainer import train_stage
from pipeline.world import World
from stylealae.families import FAMILIES

IMAGES, BATCH = 12_000, 100
LINES = {
    "aae, merged": "family: aae\nloss: {merged: true}",
    "aae_classes, four phases": "family: aae_classes\ndata: {label: class}",
    "aae_classes, merged": "family: aae_classes\nloss: {merged: true}\ndata: {label: class}",
    "alae": "family: alae",
}


def bench_family(world: World, folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Every line, ours and theirs in turn."""
    data = folder / "digits"
    prepare(open_source(str(_digits(folder / "idx")), "idx"), data, (32,), workers=1)
    for number, (name, text) in enumerate(LINES.items()):
        cfg = _config(text, data)
        ours, theirs = Lap(), Lap()
        for i in range(rounds):
            ours.seconds.append(_through_trainer(cfg, world, folder / f"run-{number}-{i}"))
            theirs.seconds.append(_bare(cfg))
            for lap in (ours, theirs):
                lap.cpu.append(lap.seconds[-1])
        yield cell(f"trainer / bare maths, {name}", ours, theirs, BATCH)


def _through_trainer(cfg: RunConfig, world: World, run_dir: Path) -> float:
    """Seconds an iteration, by the run's log, its first half left out."""
    (stage,) = cfg.stages
    cfg = replace(cfg, run_dir=str(run_dir))
    assert train_stage(cfg, stage, world, open_storage(run_dir))
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["time/step_s"])


def _bare(cfg: RunConfig) -> float:
    """Seconds an iteration of plain torch."""
    family, at = FAMILIES[cfg.family], cfg.progress(0)
    nets = family.build(cfg.model)
    x, labels = torch.rand(BATCH, 1, 32, 32) * 2 - 1, torch.arange(BATCH) % 10
    sampler = family.sampler(
        cfg.model, cfg.loss, seed=0, mine=slice(0, BATCH), device=x.device,
        labelled=(torch.zeros(0, 1, 32, 32), labels[:0]),
    )  # fmt: skip
    phases = family.phases(cfg.loss, 0)
    params: dict[str, list[Tensor]] = {a: list(nets.grown(a, at)) for a in nets.networks}
    adams = {
        phase.name: torch.optim.Adam([p for a in phase.trains for p in params[a]], fused=True)
        for phase in phases
    }
    steps = IMAGES // BATCH // 2
    for i in range(2 * steps):
        if i == steps:
            began = time.perf_counter()
        for phase in phases:
            nets.requires_grad_(False)
            for a in phase.trains:
                for p in params[a]:
                    p.requires_grad_(True)
            draw = sampler.draw(phase.name, i, at, labels)
            phase.loss(nets, x, draw, at, cfg.loss).backward()  # type: ignore[no-untyped-call]
            adams[phase.name].step()
            adams[phase.name].zero_grad()
    return (time.perf_counter() - began) / steps


def _config(text: str, data: Path) -> RunConfig:
    return parse(
        text,
        [
            f"schedule.stage_img=[{IMAGES}]", "schedule.total_img=0", f"schedule.batch=[{BATCH}]",
            f"data.path={data}", "data.flip=false", "engine.precision=fp32", "engine.zero_stage=0",
            f"engine.threads={torch.get_num_threads()}", f"log.scalars_img={IMAGES // 2}",
            f"log.grid_img={10 * IMAGES}", f"checkpoint.every_img={10 * IMAGES}",
        ],
    )  # fmt: skip


def _digits(folder: Path) -> Path:
    """IDX files of noise: what is measured does not depend on what is seen."""
    folder.mkdir(parents=True)
    source = np.random.default_rng(0)
    for prefix, n in (("train", 4000), ("t10k", 100)):
        for kind, array in (
            ("images-idx3", source.integers(0, 256, (n, 28, 28))),
            ("labels-idx1", np.arange(n) % 10),
        ):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            content = head + array.astype(np.uint8).tobytes()
            (folder / f"{prefix}-{kind}-ubyte").write_bytes(content)
    return folder
