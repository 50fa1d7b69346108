"""Where a run goes on: its newest whole checkpoint, if that is a checkpoint of this very run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.config import RunConfig
from pipeline.storage import Storage
from pipeline.training import checkpoints
from pipeline.training.checkpoints import Checkpoint
from pipeline.world import World
from stylealae.config import ShapeConfig
from stylealae.errors import CheckpointError

__all__ = ["newest_of"]


def newest_of(cfg: RunConfig, storage: Storage, data: str, world: World) -> Checkpoint | None:
    """The checkpoint that the run goes on from; None at its beginning.  Collective.

    Args:
        cfg: the run.
        storage: where it lies.
        data: digest of the data set's manifest.
        world: the ranks.

    Raises:
        CheckpointError: the newest checkpoint is of another model, seed or data set.
    """
    found = checkpoints.latest(storage, world)
    if found is None:
        return None
    there, here = _identity_there(cfg, found.state), _identity(cfg, data)
    other = [f"{k} ({there.get(k)} there, {v} here)" for k, v in here.items() if there.get(k) != v]
    if other:
        raise CheckpointError(
            f"the checkpoint {found.where} is of another run: {', '.join(other)}. Give this one a "
            f"run_dir of its own (run_dir=runs/another), or remove {storage.where}"
        )
    return found


def _identity(cfg: RunConfig, data: str) -> dict[str, Any]:
    """What makes a run this one and no other."""
    return {"family": cfg.family, **_as_saved(cfg.model), "seed": cfg.seed, "data set": data}


def _identity_there(cfg: RunConfig, state: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a checkpoint; of keys that came after it, the defaults."""
    config = state["config"]
    return {
        "family": "stylealae",
        **_as_saved(type(cfg.model)()),
        **config,
        **config["model"],
        "data set": state["data"],
    }


def _as_saved(model: ShapeConfig) -> dict[str, Any]:
    """The section `model` as a checkpoint's JSON gives it back."""
    saved: dict[str, Any] = json.loads(json.dumps(asdict(model)))
    return saved
