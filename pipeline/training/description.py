"""What a checkpoint says of itself, beside its tensors: state.json."""

from importlib.metadata import version
from typing import Any, TypedDict

from pipeline.config import RunConfig, as_dict

__all__ = ["CheckpointState", "Handed", "StateNotes", "describe"]


class StateNotes(TypedDict, total=False):
    """What the train state adds to a checkpoint's description."""

    origin: str
    """The weights that the run began with, and their hash; empty if they were drawn."""
    augment_p: float
    """Probability of each kind of transform that D∘E is shown."""


class Handed(StateNotes):
    """What one stage tells the next."""

    stage: int
    seen: int


class CheckpointState(Handed):
    """What a checkpoint says of itself: state.json."""

    config: dict[str, Any]
    """The resolved config as plain dicts and lists."""
    data: str
    """Digest of the data set's manifest."""
    versions: dict[str, str]


def describe(
    cfg: RunConfig, stage: int, seen: int, data: str, notes: StateNotes | None = None
) -> CheckpointState:
    """What a checkpoint says of itself: stage, images seen, config, data digest, versions.

    `notes` are what the train state adds, TrainState.about.
    """
    versions = {name: version(name) for name in ("torch", "deepspeed", "safetensors")}
    said: StateNotes = notes or {}
    return {
        "stage": stage, "seen": seen, "config": as_dict(cfg), "data": data,
        **said, "versions": versions,
    }  # fmt: skip
