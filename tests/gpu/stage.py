"""Part 7: `train_stage` itself, on shards, through a fade: stopped, resumed, measured."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.config import RunConfig, parse
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.trainer import train_stage
from pipeline.world import World
from stylealae import StyleALAE
from tests.gpu.setting import Row, Setting, row

__all__ = ["rows"]

ALIKE = 0.5
"""On GPUs a run that was stopped is another one by rounding: relative difference of the weights."""


def rows(s: Setting) -> Iterator[Row]:
    """A run as it is, and the same one stopped in the middle of its fade."""
    faces = s.folder / "faces"
    images, stages = ("64", (4, 8)) if s.quick else ("512", (4, 8, 16, 32))
    prepare(open_source(images, "rendered"), faces, stages, workers=1)
    world = s.world()
    whole = _config(s, faces, s.folder / "whole", stages[-1])
    for stage in whole.stages:
        train_stage(whole, stage, world, open_storage(whole.run_dir))
    yield from _logged(Path(whole.run_dir))
    parts = _config(s, faces, s.folder / "parts", stages[-1])
    for stage in parts.stages:
        if stage == parts.last_stage:
            done = train_stage(parts, stage, world, open_storage(parts.run_dir), stop=lambda: True)
            yield row("stopped in the fade", "it was not" if done else "")
        train_stage(parts, stage, world, open_storage(parts.run_dir))
    yield _compared(whole, parts, stages[-1], world)


def _config(s: Setting, faces: Path, run_dir: Path, resolution: int) -> RunConfig:
    """Three quarters of a stage fade; saved twice a stage, measured once."""
    stage_img, batch, widest = (512, 32, 8) if s.quick else (4096, 64, 64)
    names = "psnr" if s.quick else "psnr, reciprocity, kid-random"
    return parse(f"""
run_dir: {run_dir}
model: {{resolution: {resolution}, start_channels: {widest // 2}, max_channels: {widest},
         z_width: 16, w_width: 16, mapping_layers: 2}}
schedule: {{stage_img: [{stage_img}], total_img: 0, batch: [{batch}], lr: [0.002],
            fade_fraction: 0.75}}
data: {{path: {faces}}}
checkpoint: {{every_img: {stage_img // 2}}}
log: {{scalars_img: {stage_img // 4}, grid_img: {stage_img}, grid_size: 4}}
metrics: {{every_img: {stage_img}, names: [{names}], samples: 32,
           cache: {run_dir}-metrics}}
""")


def _logged(run_dir: Path) -> Iterator[Row]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    last: dict[str, float] = {}
    for line in lines:
        last |= {k: v for k, v in line.items() if isinstance(v, float)}
    for kind in ("loss/", "metric/", "time/"):
        found = {name: value for name, value in last.items() if name.startswith(kind)}
        wrong = "; ".join(f"{k} is {v}" for k, v in found.items() if v != v)
        yield row(f"logged {kind[:-1]}", wrong or ("" if found else "nothing"), **found)


def _compared(a: RunConfig, b: RunConfig, resolution: int, world: World) -> Row:
    """Equal on CPUs; on GPUs as near as sums in another order are."""
    one, other = (
        StyleALAE.load(Path(cfg.run_dir) / f"{resolution:04d}" / "snapshot") for cfg in (a, b)
    )
    pairs = [
        (p, q) for p, q in zip(one.nets.state_dict().values(), other.nets.state_dict().values(),
                               strict=True)
    ]  # fmt: skip
    off = sum(float((p - q).double().square().sum()) for p, q in pairs) ** 0.5
    size = sum(float(p.double().square().sum()) for p, _ in pairs) ** 0.5
    equal = all(torch.equal(p, q) for p, q in pairs)
    bound = ALIKE if world.device.type == "cuda" else 0.0
    wrong = "" if off / size <= bound else "a resumed run is another one"
    return row("resumed / uninterrupted", wrong, relative=off / size, bit_equal=equal)
