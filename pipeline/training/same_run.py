"""Whether a run is asked for what it was asked for before, by its newest checkpoint.

Another model, seed or data set make another run, which is refused.  Other settings that shape the
result are named: the run goes on with them, or, if there is nothing left to train, refuses them.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, cast

from pipeline.config import RunConfig, as_dict, without_retired
from pipeline.config.leaves import leaves
from pipeline.storage import Storage
from pipeline.training import checkpoints
from pipeline.training.checkpoint_state import CheckpointState, label
from pipeline.training.checkpoints import Checkpoint
from stylealae.errors import CheckpointError

__all__ = ["require_same_request", "require_same_run"]

log = logging.getLogger(__name__)

SHAPING = {
    "init": ("alpha", "warmup_img"),
    "loss": (),
    "augment": (),
    "optimizer": (),
    "schedule": (),
    "data": ("split", "label", "labelled_img", "classes", "validation_img", "flip", "shuffle_img"),
    "engine": ("precision", "reduce_dtype"),
}
"""Sections and their keys that decide what is trained; () is all of them."""


def require_same_request(cfg: RunConfig, storage: Storage, data: str, *, complete: bool) -> None:
    """Returns if the run at `storage` is the one that is asked for; warns of changed settings.

    Args:
        cfg: what is asked for.
        storage: where the run lies.
        data: digest of the data set's manifest.
        complete: whether there is nothing left to train.

    Raises:
        CheckpointError: it is another run, or it is complete and was asked for something else.
    """
    found = checkpoints.newest(storage)
    if found is None:
        return
    require_same_run(cfg, storage, found, data)
    if unknown := _unknown(cfg, found.state["config"]):
        log.warning(
            "%s was written by a version with settings that this one does not have (%s): what they "
            "asked for is left out", found.where, ", ".join(unknown),
        )  # fmt: skip
    changed = "; ".join(_changed(cfg, found.state["config"]))
    if changed and complete:
        raise CheckpointError(
            f"the run {storage.where} is complete, and was asked for something else: {changed}. "
            "Give this one a run_dir of its own (run_dir=runs/another); with init.from= a snapshot "
            "or a checkpoint of that run, it goes on from its weights"
        )
    if changed:
        log.warning(
            "the run %s goes on with other settings than before: %s", storage.where, changed
        )


def require_same_run(cfg: RunConfig, storage: Storage, found: Checkpoint, data: str) -> None:
    """Refuses a checkpoint of another family, model, seed or data set (`data` is its digest).

    Raises:
        CheckpointError: it is of one; the message names what differs.
    """
    there, here = _identity_there(cfg, found.state), _identity(cfg, data)
    names = [name for name, value in here.items() if there.get(name) != value]
    there["data set"] = _named(there["data"]["path"], there["data set"])
    here["data set"] = _named(cfg.data.path, data)
    other = ", ".join(f"{name} ({there.get(name)} there, {here[name]} here)" for name in names)
    if other:
        raise CheckpointError(
            f"the checkpoint {found.where} is of another run: {other}. Give this one a run_dir of "
            f"its own (run_dir=runs/another), or remove {storage.where}"
        )


def _named(path: str, digest: str) -> str:
    return f"{path} of digest {digest[:12]}"


def _changed(cfg: RunConfig, before: Mapping[str, Any]) -> Iterator[str]:
    """Each shaping setting that was another; a key that the checkpoint lacks was the default."""
    for section, names in SHAPING.items():
        now = _as_saved(getattr(cfg, section))
        was = {**_as_saved(type(getattr(cfg, section))()), **before.get(section, {})}
        for name in names or now:
            if was[name] != now[name]:
                yield f"{section}.{name} was {was[name]!r} and is {now[name]!r}"


def _unknown(cfg: RunConfig, before: Mapping[str, Any]) -> list[str]:
    """The settings of a checkpoint that this version has no keys for, and that did something."""
    known = {key for key, _ in leaves(as_dict(cfg))}
    return [key for key, _ in leaves(without_retired(before)) if key not in known]


def _identity(cfg: RunConfig, data: str) -> dict[str, Any]:
    """What makes a run this one and no other."""
    return {
        "family": cfg.family,
        **_as_saved(cfg.model),
        "seed": cfg.seed,
        "data set": data,
        **_init_of(cast(Mapping[str, Any], as_dict(cfg)["init"])),
    }


def _identity_there(cfg: RunConfig, state: CheckpointState) -> dict[str, Any]:
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
    return {"init.from": label(saved["from"]), **kept}


def _as_saved(section: Any) -> dict[str, Any]:
    """A section of the config as a checkpoint's JSON gives it back."""
    saved: dict[str, Any] = json.loads(json.dumps(asdict(section)))
    return saved
