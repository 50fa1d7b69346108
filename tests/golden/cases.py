"""The runs in miniature whose trajectories are recorded: one of every family."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from pipeline.config import RunConfig, parse
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from stylealae.families import FAMILIES, sections
from tests.digits import write_digits

__all__ = ["CASES", "config", "write_data"]

CASES = tuple(FAMILIES)
BATCH = 8
SMALL = {"hidden": 24, "critic_hidden": 24, "z_width": 2}
"""Of these the keys that a family made of MLPs has."""
RUN = f"""
seed: 7
engine: {{precision: fp32, zero_stage: 0, threads: 1}}
checkpoint: {{every_img: 100000}}
log: {{scalars_img: {BATCH}, grid_img: 100000, grid_size: 2}}
"""
STYLE = f"""
model: {{resolution: 8, start_channels: 4, max_channels: 8, z_width: 8, w_width: 8,
  mapping_layers: 2}}
schedule: {{stage_img: [{10 * BATCH}, {60 * BATCH}], fade_fraction: 0.5, total_img: 0,
  batch: [{BATCH}], lr: [0.002], ema_half_life_img: 100}}
"""
"""10 iterations at 4x4, 30 fading to 8x8, 30 grown."""


def write_data(folder: Path) -> Path:
    """The prepared sets `digits` and `faces` in a folder."""
    write_digits(folder / "digits")
    prepare(open_source("64", "rendered"), folder / "faces" / "set", (4, 8), workers=1)
    return folder


def config(family: str, data: Path, run_dir: Path) -> RunConfig:
    """The run of a family, on the data that `write_data` wrote."""
    return parse("\n".join(_lines(family, data, run_dir)))


def _lines(family: str, data: Path, run_dir: Path) -> Iterator[str]:
    yield f"family: {family}\nrun_dir: {run_dir}{RUN}"
    if family.startswith("stylealae"):
        yield f"data: {{path: {data}/faces/set}}{STYLE}"
        return
    model, loss = sections(family)
    small = {f.name: SMALL[f.name] for f in fields(model) if f.name in SMALL}
    yield f"model: {small}"
    yield f"schedule: {{stage_img: [{30 * BATCH}], total_img: 0, batch: [{BATCH}], lr: [0.01]}}"
    labels = "label: class, labelled_img: 40, " if loss().wants_labels else ""
    yield f"data: {{path: {data}/digits/set, flip: false, {labels}validation_img: 20}}"
