"""What a checkpoint says of itself, beside its tensors: state.json."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from pipeline.config import RunConfig, as_dict
from pipeline.storage import is_url

__all__ = ["CheckpointState", "Handed", "describe", "label"]


class Handed(TypedDict):
    """What one stage hands to the next beside tensors; the train state adds keys of its own."""

    stage: int
    seen: int
    origin: NotRequired[str]
    """The weights that the run began with, and their hash; empty if they were drawn."""


class CheckpointState(Handed):
    """What a checkpoint says of itself: state.json."""

    config: dict[str, Any]
    """The resolved config as plain dicts and lists."""
    data: str
    """Digest of the data set's manifest."""
    versions: dict[str, str]


def describe(
    cfg: RunConfig, stage: int, seen: int, data: str, notes: Mapping[str, object] | None = None
) -> CheckpointState:
    """What a checkpoint says of itself: stage, images seen, config, data digest, versions.

    `notes` are what the train state adds, TrainState.about.
    """
    versions = {name: version(name) for name in ("torch", "deepspeed", "safetensors")}
    about = {"stage": stage, "seen": seen, "config": as_dict(cfg), "data": data}
    return cast(CheckpointState, {**about, **(notes or {}), "versions": versions})


def label(path: str) -> str:
    """How weights are called in a run's records: by their URL, or the last parts of their path."""
    return path if is_url(path) else "/".join(Path(path).parts[-3:])
