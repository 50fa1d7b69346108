"""Weights that a run begins with: a snapshot's, another run's checkpoint's, the authors'.

    cfg = resolved(cfg, storage)       init.stage and init.alpha, as the weights have them
    begin(cfg)                         the state of the run's first image

What the weights do not hold, the blocks of resolutions above theirs and the networks that
init.networks leaves out, is drawn as in any other run.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RunConfig, parse
from pipeline.storage import Storage
from pipeline.training import checkpoints
from pipeline.training.checkpoints import NETWORKS, STATE, Checkpoint, Handover
from stylealae.config import ModelConfig, ShapeConfig
from stylealae.errors import CheckpointError, ConfigError
from stylealae.families import FAMILIES, sections
from stylealae.interop import snapshot
from stylealae.interop.integrity import require_file, require_manifest
from stylealae.interop.released import model_of, read_released, released_to_ours

__all__ = ["Source", "begin", "is_weights", "label", "opened", "resolved", "shape_overrides"]

Tensors = Mapping[str, Tensor]
NAMED = 3
"""Misfits that an error names."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Weights of others; the tensors are read when asked for."""

    where: str
    sha256: str
    """Of the file that holds the weights: of a checkpoint, those in training."""
    family: str
    model: ShapeConfig
    stage: int
    """The last stage that they were trained at."""
    alpha: float
    """Weight of its newest block."""
    seen: int
    """Images that they were trained on; 0 where that is not known."""
    parts: Callable[[], tuple[Tensors, Tensors]]
    """The networks in training and their running averages; a snapshot holds the latter alone."""


def opened(path: Path) -> Source:
    """The weights at a path.

    Raises:
        CheckpointError: there are none, or they are torn.
    """
    path = path.expanduser()
    if path.is_file():
        return _released(path)
    return _checkpoint(path) if (path / STATE).is_file() else _snapshot(path)


def is_weights(path: Path) -> bool:
    """Whether a file or a checkpoint lies at a path."""
    return path.is_file() or (path / STATE).is_file()


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
    there = found.state["config"].get("init", {}) if found else {}
    if there.get("from"):
        stage, alpha = int(there["stage"]), float(there["alpha"])
        if init.stage >= 0 and init.stage != stage:
            return cfg  # another run, which is said where both are compared
        return replace(cfg, init=replace(init, stage=stage, alpha=alpha))
    source = opened(Path(init.from_))
    stage = init.stage if init.stage >= 0 else min(source.stage, cfg.last_stage)
    if stage > source.stage + 1:
        raise ConfigError(
            f"init.stage is {stage}, and {init.from_} was trained up to stage {source.stage}: "
            f"begin with {source.stage + 1} at most, whose block is faded in"
        )
    alpha = source.alpha if stage == source.stage else float(stage < source.stage)
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
    source = opened(Path(cfg.init.from_))
    if source.family != cfg.family:
        raise CheckpointError(
            f"{cfg.init.from_} holds weights of the family {source.family}, this run is of "
            f"{cfg.family}: change init.from, or family={source.family}"
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
    above = range(source.model.last_stage + 1, cfg.last_stage + 1)
    drawn = {names[p] for a in nets.networks for s in above for p in nets.at_resolution(a, s)}
    fresh = nets.state_dict()
    wanted = [n for n in fresh if n[0] in taken and n not in drawn]
    trained, averaged = source.parts()
    _require_fit(cfg, source, {n: fresh[n] for n in wanted}, trained)
    networks, ema = ({**fresh, **{n: part[n] for n in wanted}} for part in (trained, averaged))
    means = dict(nets.means())
    if "F" in taken:
        means = {name: _rows_of(averaged[name], mean) for name, mean in means.items()}
    origin = (
        f"the weights of {source.where} (sha256 {source.sha256}), "
        f"{4 << source.stage}x{4 << source.stage}"
        + (f" after {source.seen:,} images" if source.seen else "")
        + (f", networks {taken}" if cfg.init.networks else "")
    )
    state = {"stage": cfg.first_stage - 1, "seen": 0, "origin": origin}
    return Handover(state, source.where, {"networks": networks, "ema": {**ema, **means}})


def shape_overrides(source: Source, resolution: int) -> dict[str, int | str]:
    """What `model` must say at a resolution for the weights to fit, as overrides by key.

    Raises:
        ConfigError: no networks of that resolution have the weights' widths.
    """
    shape: dict[str, Any] = {**asdict(source.model), "resolution": resolution}
    if isinstance(source.model, ModelConfig):
        scaled = source.model.start_channels * source.model.resolution
        shape["start_channels"] = scaled // resolution
        if not shape["start_channels"]:
            raise ConfigError(
                f"{source.where} has {source.model.start_channels} feature channels at "
                f"{source.model.resolution}x{source.model.resolution}, too few to be halved at "
                f"every resolution up to {resolution}: use a smaller model.resolution"
            )
    return {f"model.{key}": value for key, value in shape.items()}


def label(path: str) -> str:
    """How weights are called in a run's records: the last parts of their path."""
    return "/".join(Path(path).parts[-3:])


def _require_fit(cfg: RunConfig, source: Source, wanted: Tensors, found: Tensors) -> None:
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


def _snapshot(folder: Path) -> Source:
    found = snapshot.read(
        folder, lambda name: sections(name).model, lambda name, model: FAMILIES[name].build(model)
    )
    return Source(
        where=label(str(folder)), sha256=_sha256(folder / snapshot.WEIGHTS), family=found.family,
        model=found.model, stage=found.stage, alpha=1.0, seen=found.seen,
        parts=lambda: (found.tensors, found.tensors),
    )  # fmt: skip


def _checkpoint(folder: Path) -> Source:
    require_file(folder / STATE, advice="copy the folder again", text=True)
    require_manifest(folder)
    try:
        state = json.loads((folder / STATE).read_text())
        cfg = parse(json.dumps(state["config"]), origin=f"{folder}/{STATE}")
        stage, seen = int(state["stage"]), int(state["seen"])
        at = cfg.progress(min(seen, cfg.span(stage)[1] - 1))
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{folder} is no whole checkpoint: {error}") from error
    held = Checkpoint(folder, state, str(folder))
    return Source(
        where=label(str(folder)), sha256=_sha256(folder / NETWORKS), family=cfg.family,
        model=cfg.model, stage=stage, alpha=at.alpha, seen=seen,
        parts=lambda: (held.tensors("networks"), held.tensors("ema")),
    )  # fmt: skip


def _released(file: Path) -> Source:
    averaged = read_released(file)
    model = model_of(averaged)

    def parts() -> tuple[Tensors, Tensors]:
        trained, _, _ = released_to_ours(read_released(file, ema=False))
        ours, _, w_mean = released_to_ours(averaged)
        return trained.state_dict(), {**ours.state_dict(), "w_mean": w_mean}

    return Source(
        where=label(str(file)), sha256=_sha256(file), family="stylealae", model=model,
        stage=model.last_stage, alpha=1.0, seen=0, parts=parts,
    )  # fmt: skip


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
