"""Where a run goes on: the stage, and the state that the stage is taken up from.

The invariant of staged training is that `seen` lies in the span of the stage under training.  A
stage leaves its last checkpoint, which the next stage begins from, and its snapshot, which marks it
done.  What of that is damaged or gone decides:

* the last checkpoint, with an older one left: the stage of that one is opened again, and ends as it
  did before;
* every checkpoint, as when only snapshots were copied: the next stage begins from the snapshot, and
  is said to, for it holds the averaged weights in place of those in training;
* a snapshot: it is made again from the stage's last checkpoint.

A run may begin with weights of others (weights.py).
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from pipeline.config import RunConfig, as_dict
from pipeline.storage import Storage
from pipeline.training import checkpoints, snapshots, weights
from pipeline.training.checkpoints import Checkpoint, Handover
from pipeline.world import World
from stylealae.config import ShapeConfig
from stylealae.errors import CheckpointError
from stylealae.families import FAMILIES, sections
from stylealae.interop import snapshot

__all__ = ["next_stage", "require_same_run", "start_of"]

log = logging.getLogger(__name__)


def next_stage(cfg: RunConfig, storage: Storage, world: World | None = None) -> int | None:
    """The stage that a run goes on with; None when all are done.

    With a world it is what rank 0 finds, on every rank.  Collective then.
    """
    if world is None or world.size == 1:
        return _next_stage(cfg, storage)
    found = _next_stage(cfg, storage) if world.rank == 0 else None
    number = round(world.size * world.mean([0.0 if found is None else found + 1.0])[0])
    return number - 1 if number else None


def _next_stage(cfg: RunConfig, storage: Storage) -> int | None:
    open_ = [stage for stage in cfg.stages if not snapshots.is_done(storage, stage)]
    if not open_:
        return None
    found = checkpoints.latest(storage)
    if found is None:
        return open_[0]
    at = cfg.progress(int(found.state["seen"])).stage
    missing = [s for s in open_ if s < at and not _ended(cfg, storage, s)]
    for stage in missing:
        log.warning("the snapshot of stage %d is gone, and with it the last checkpoint", stage)
    left = [stage for stage in open_ if stage not in missing]
    if left and at < left[0]:
        log.warning(
            "stage %d is done, but no checkpoint after %s is whole: stage %d is opened again there",
            *(left[0] - 1, found.where, at),
        )
        return at
    return left[0] if left else None


def start_of(
    cfg: RunConfig, stage: int, storage: Storage, data: str, world: World
) -> Checkpoint | Handover | None:
    """What a stage is taken up from; None where a run begins with drawn weights.  Collective.

    Args:
        cfg: the run.
        stage: the stage to train.
        storage: where the run lies.
        data: digest of the data set's manifest.
        world: the ranks.

    Raises:
        CheckpointError: the newest checkpoint is of another model, seed or data set, or it lies
            outside the stage's span.
    """
    first, end = cfg.span(stage)
    found = checkpoints.latest(storage, world, upto=end)
    if found is None:
        if stage > cfg.first_stage:
            return _from_snapshot(cfg, stage, storage)
        return weights.begin(cfg) if cfg.init.from_ else None
    require_same_run(cfg, storage, found, data)
    seen = int(found.state["seen"])
    if seen < first:
        raise CheckpointError(
            f"stage {stage} spans images {first:,} to {end:,}, and the newest whole checkpoint, "
            f"{found.where}, stands at {seen:,}: train the stages before it first"
        )
    return found


def _ended(cfg: RunConfig, storage: Storage, stage: int) -> bool:
    return checkpoints.has_ended(storage, stage, cfg.span(stage)[1])


def _from_snapshot(cfg: RunConfig, stage: int, storage: Storage) -> Handover:
    """The state that the snapshot of the stage before stands in for."""
    folder = snapshots.snapshot(storage, stage - 1)
    found = snapshot.read(
        folder, lambda name: sections(name).model, lambda name, model: FAMILIES[name].build(model)
    )
    if (found.family, found.model) != (cfg.family, cfg.model):
        raise CheckpointError(
            f"the snapshot {folder} is of another model ({found.family}, {found.model}): give this "
            "run a run_dir of its own"
        )
    log.warning(
        "no checkpoint of stage %d is there: stage %d begins from its snapshot, with the averaged "
        "weights in place of those in training, so the run is not the one it would have been",
        *(stage - 1, stage),
    )
    with torch.device("meta"):
        beside = frozenset(FAMILIES[cfg.family].build(cfg.model).means())
    networks = {name: t for name, t in found.tensors.items() if name not in beside}
    state = {"stage": stage - 1, "seen": cfg.span(stage)[0], "origin": found.origin}
    return Handover(state, str(folder), {"networks": networks, "ema": found.tensors})


def require_same_run(cfg: RunConfig, storage: Storage, found: Checkpoint, data: str) -> None:
    """Refuses a checkpoint of another family, model, seed or data set."""
    there, here = _identity_there(cfg, found.state), _identity(cfg, data)
    other = [f"{k} ({there.get(k)} there, {v} here)" for k, v in here.items() if there.get(k) != v]
    if other:
        raise CheckpointError(
            f"the checkpoint {found.where} is of another run: {', '.join(other)}. Give this one a "
            f"run_dir of its own (run_dir=runs/another), or remove {storage.where}"
        )


def _identity(cfg: RunConfig, data: str) -> dict[str, Any]:
    """What makes a run this one and no other."""
    return {
        "family": cfg.family,
        **_as_saved(cfg.model),
        "seed": cfg.seed,
        "data set": data,
        **_init_of(as_dict(cfg)["init"]),
    }


def _identity_there(cfg: RunConfig, state: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a checkpoint; of keys that came after it, the defaults."""
    config = state["config"]
    return {
        "family": "stylealae",
        **_as_saved(type(cfg.model)()),
        **config,
        **config["model"],
        "data set": state["data"],
        **_init_of(config.get("init", {})),
    }


def _init_of(init: Mapping[str, Any]) -> dict[str, Any]:
    """What weights a run began with, and where it put them."""
    if not init.get("from"):
        return {"init.from": "none"}
    saved = json.loads(json.dumps(init))
    kept = {f"init.{key}": saved.get(key) for key in ("networks", "stage", "freeze", "freeze_img")}
    return {"init.from": weights.label(saved["from"]), **kept}


def _as_saved(model: ShapeConfig) -> dict[str, Any]:
    """The section `model` as a checkpoint's JSON gives it back."""
    saved: dict[str, Any] = json.loads(json.dumps(asdict(model)))
    return saved
