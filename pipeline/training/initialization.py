"""Weights that a run begins with: a snapshot's, another run's checkpoint's, the authors'.

    cfg = resolved(cfg, storage)       init.stage and init.alpha, as the weights have them
    begin(cfg)                         the state of the run's first image

What the weights do not hold, the blocks of resolutions above theirs and the networks that
init.networks leaves out, is drawn as in any other run.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.storage import Storage
from pipeline.training import checkpoints
from pipeline.training.checkpoint_state import Handed
from pipeline.training.checkpoints import Handover
from pipeline.training.weight_sources import Tensors, WeightSource, opened
from stylealae.config import ModelConfig
from stylealae.errors import CheckpointError, ConfigError
from stylealae.families import FAMILIES

__all__ = ["begin", "resolved", "shape_overrides"]

NAMED = 3
"""Misfits that an error names."""


def resolved(cfg: RunConfig, storage: Storage | None = None) -> RunConfig:
    """The config with init.stage and init.alpha as the weights have them, if they are left open.

    A run that has begun keeps its own: its checkpoints say, and the weights may be gone.

    Raises:
        ConfigError: the stage is more than one above the weights'.
        CheckpointError: there are no weights, or they are torn.
    """
    init = cfg.init
    if not init.from_ or (init.stage >= 0 and init.alpha >= 0.0):
        return cfg
    found = checkpoints.latest(storage) if storage else None
    before = found.state["config"].get("init", {}) if found else {}
    if before.get("from"):
        stage, alpha = int(before["stage"]), float(before["alpha"])
        if init.stage >= 0 and init.stage != stage:
            return cfg  # another run, which is said where both are compared
        return replace(cfg, init=replace(init, stage=stage, alpha=alpha))
    there = opened(init.from_).trained
    stage = init.stage if init.stage >= 0 else min(there.stage, cfg.last_stage)
    if stage > there.stage + 1:
        raise ConfigError(
            f"init.stage is {stage}, and {init.from_} was trained up to stage {there.stage}: "
            f"begin with {there.stage + 1} at most, whose block is faded in"
        )
    alpha = there.alpha if stage == there.stage else float(stage < there.stage)
    if init.alpha >= 0.0:
        alpha = init.alpha
    return replace(cfg, init=replace(init, stage=stage, alpha=alpha))


def begin(cfg: RunConfig) -> Handover:
    """The networks and averages that a run begins with, in the place of a checkpoint.

    Raises:
        CheckpointError: the weights are of another family, or do not fit the run's networks.
        ConfigError: init.networks names networks that the family has not.
    """
    assert cfg.init.stage >= 0, "the config is to be resolved first"
    source = opened(cfg.init.from_)
    there = source.trained
    if there.family != cfg.family:
        raise CheckpointError(
            f"{cfg.init.from_} holds weights of the family {there.family}, this run is of "
            f"{cfg.family}: change init.from, or family={there.family}"
        )
    family = FAMILIES[cfg.family]
    nets = family.build(cfg.model, cfg.seed)
    taken = cfg.init.networks or nets.networks
    if unknown := set(taken) - set(nets.networks):
        raise ConfigError(
            f"init.networks is {cfg.init.networks!r}, and the networks of {cfg.family} are "
            f"{nets.networks}: {', '.join(sorted(unknown))} is none of them"
        )
    names = {p: name for name, p in nets.named_parameters()}
    above = range(there.model.last_stage + 1, cfg.last_stage + 1)
    drawn = {names[p] for a in nets.networks for s in above for p in nets.at_resolution(a, s)}
    fresh = nets.state_dict()
    wanted = [n for n in fresh if n[0] in taken and n not in drawn]
    trained, averaged = source.parts()
    _require_fit(cfg, source, {n: fresh[n] for n in wanted}, trained)
    networks, ema = ({**fresh, **{n: part[n] for n in wanted}} for part in (trained, averaged))
    means = dict(nets.means())
    if "F" in taken:
        means = {name: _rows_of(averaged[name], mean) for name, mean in means.items()}
    known = (
        f"the weights of {source.where} (sha256 {source.sha256}), "
        f"{4 << there.stage}x{4 << there.stage}"
        + (f" after {there.seen:,} images" if there.seen else "")
        + (f", networks {taken}" if cfg.init.networks else "")
    )
    state: Handed = {"stage": cfg.first_stage - 1, "seen": 0, "origin": known}
    return Handover(state, source.where, {"networks": networks, "ema": {**ema, **means}})


def shape_overrides(source: WeightSource, resolution: int) -> dict[str, int | str]:
    """What `model` must say at a resolution for the weights to fit, as overrides by key.

    Raises:
        ConfigError: no networks of that resolution have the weights' widths.
    """
    model = source.trained.model
    shape: dict[str, Any] = {**asdict(model), "resolution": resolution}
    if isinstance(model, ModelConfig):
        shape["start_channels"] = model.start_channels * model.resolution // resolution
        if not shape["start_channels"]:
            raise ConfigError(
                f"{source.where} has {model.start_channels} feature channels at "
                f"{model.resolution}x{model.resolution}, too few to be halved at every resolution "
                f"up to {resolution}: use a smaller model.resolution"
            )
    return {f"model.{key}": value for key, value in shape.items()}


def _require_fit(cfg: RunConfig, source: WeightSource, wanted: Tensors, found: Tensors) -> None:
    """Refuses weights of other widths, by name."""
    misfits = list(_misfits(wanted, found))
    if not misfits:
        return
    here = {f"model.{key}": value for key, value in asdict(cfg.model).items()}
    like = shape_overrides(source, cfg.model.resolution)
    give = " ".join(f"{k}={v}" for k, v in like.items() if here.get(k) != v)
    more = f" and {len(misfits) - NAMED} more" if len(misfits) > NAMED else ""
    raise CheckpointError(
        f"the weights of {source.where} do not fit this run: {', '.join(misfits[:NAMED])}{more}. "
        f"Give {give or 'another init.from'}, or leave networks out by init.networks"
    )


def _misfits(wanted: Tensors, found: Tensors) -> Iterator[str]:
    for name, tensor in wanted.items():
        if name not in found:
            yield f"{name} is missing there"
        elif found[name].shape != tensor.shape:
            yield f"{name} has shape {list(found[name].shape)} there, {list(tensor.shape)} here"


def _rows_of(found: Tensor, like: Tensor) -> Tensor:
    """A mean with as many rows as another: cut, or its last one repeated.  [L, W] -> [L', W]"""
    rows = torch.arange(len(like)).clamp(max=len(found) - 1)
    return found[rows]
