"""The iterations that are run: every family in every precision and form."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pipeline.config import RunConfig, load, parse
from stylealae.config import AugmentKind

__all__ = ["Case", "cases", "models", "ranked", "services"]

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ONE_OF_EACH = (
    "alae_mlp", "autoencoder", "aae_2d", "aae_informed", "aae_supervised", "aae_semi_100",
    "aae_reduce", "vae_2d", "gan",
)  # fmt: skip
"""A published config of every family but StyleALAE's."""
PRECISIONS = ("fp32", "bf16", "fp16")
STYLES = """
model:
  {resolution: 8, start_channels: 4, max_channels: 8, z_width: 8, w_width: 8, mapping_layers: 2}
schedule: {stage_img: [320], total_img: 640, batch: [8]}
log: {grid_size: 2}
"""
Forms = dict[str, tuple[str, ...]]
FORMS: Forms = {
    "plain": (),
    "merged": ("loss.merged=true",),
    "lazy R1": ("loss.r1_every=2",),
    "recomputed": ("engine.recompute_from=8",),
}
"""Each in a fade and after it."""
AUGMENTED = ("augment.mode=fixed", "augment.p=0.5")
MIXTURES: Forms = {
    "merged, lazy, recomputed, in parts": (
        "loss.merged=true", "loss.r1_every=2", "engine.recompute_from=8", "engine.micro_batch=[4]",
    ),
    "moving F in parts": ("loss.reciprocity_trains_f=true", "engine.micro_batch=[4]"),
    "augmented": (*AUGMENTED, "augment.kinds=[flip,turn,shift,colour,cutout]"),
    "augmented in all kinds": (*AUGMENTED, f"augment.kinds=[{','.join(get_args(AugmentKind))}]"),
    "augmented, merged": (*AUGMENTED, "loss.merged=true"),
    "likeness in all its parts": (
        "loss.likeness_rate=1", "loss.likeness_structure=0.5", "loss.likeness_features=0.2",
        "loss.likeness_prior=1",
    ),
    "likeness in pixels": ("loss.likeness_rate=1", "loss.likeness_prior=1"),
}  # fmt: skip
"""In a fade alone."""
CODES = {
    "apart, a mixture, gaussian": (
        "loss.merged=false", "model.z_width=2", "model.prior=mixture", "model.posterior=gaussian",
    ),
    "noise, universal, SGD": (
        "loss.input_noise=0.2", "loss.input_dropout=0.1", "model.posterior=universal",
        "optimizer.kind=sgd",
    ),
}  # fmt: skip
"""What else the families of codes can be made of, tried on the one that has it all."""
UNSCALED = {"loss.merged=true", "loss.likeness_features=0.2"}
"""Refused in fp16: no loss scale reaches a gradient that a loss takes itself."""


@dataclass(frozen=True)
class Case:
    """A few iterations of a run."""

    name: str
    cfg: RunConfig
    stage: int
    fading: bool = False


def cases() -> Iterator[Case]:
    """All iterations."""
    for precision in PRECISIONS:
        chosen = f"engine.precision={precision}"
        for form, overrides in _of(FORMS, precision):
            cfg = parse(STYLES, (chosen, *overrides))
            yield Case(f"stylealae, {form}, fading, {precision}", cfg, 1, fading=True)
            yield Case(f"stylealae, {form}, grown, {precision}", cfg, 1)
        for form, overrides in _of(MIXTURES, precision):
            cfg = parse(STYLES, (chosen, *overrides))
            yield Case(f"stylealae, {form}, fading, {precision}", cfg, 1, fading=True)
        yield Case(f"stylealae, 4x4, {precision}", parse(STYLES, (chosen,)), 0)
        for form, overrides in CODES.items():
            cfg = _published("aae_semi_100", chosen, *overrides)
            yield Case(f"{cfg.family}, {form}, {precision}", cfg, cfg.last_stage)
        for name in ONE_OF_EACH:
            cfg = _published(name, chosen)
            yield Case(f"{cfg.family}, {name}, {precision}", cfg, cfg.last_stage)


def ranked() -> Iterator[Case]:
    """Those that two ranks are tried with."""
    for name, cfg in models():
        yield Case(name, cfg, cfg.last_stage, fading=name == "stylealae")


def services() -> Iterator[Case]:
    """Those that everything beside the training is tried with."""
    every = ("log.scalars_img=1", "log.grid_img=1", "checkpoint.every_img=1", "metrics.every_img=1",
             "metrics.samples=16", "metrics.batch=8")  # fmt: skip
    cfg = parse(STYLES, every)
    yield Case("stylealae", cfg, cfg.last_stage, fading=True)
    cfg = _published("aae_reduce", *every, "metrics.names=[error,prior-fit]")
    yield Case(cfg.family, cfg, cfg.last_stage)


def models() -> Iterator[tuple[str, RunConfig]]:
    """A model of every family, by its name."""
    yield "stylealae", parse(STYLES)
    for name in ONE_OF_EACH:
        cfg = _published(name)
        yield cfg.family, cfg


def _of(forms: Forms, precision: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Those that may be computed in a precision."""
    return (
        (form, given) for form, given in forms.items()
        if precision != "fp16" or UNSCALED.isdisjoint(given)
    )  # fmt: skip


def _published(name: str, *overrides: str) -> RunConfig:
    return load(CONFIGS / "mnist" / f"{name}.yaml", ("schedule.batch=[10]", *overrides))
