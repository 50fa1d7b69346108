"""Snapshots of a run's stages: what a stage leaves, and whether it has ended."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage import Storage
from pipeline.training import run_files
from pipeline.training.fencing import Fence
from stylealae.errors import CheckpointError
from stylealae.interop.layout import CONFIG

if TYPE_CHECKING:
    from stylealae.capabilities import Model

__all__ = ["ended_after", "finish_stage", "is_done", "snapshot"]

log = logging.getLogger(__name__)


def finish_stage(
    storage: Storage,
    stage: int,
    model: "Model",
    fence: Fence | None = None,
    origin: str = "",
    done: str = "",
) -> None:
    """Leaves the stage's snapshot, and in it the mark that the stage is done.

    `origin` names the weights that the run began with, and their hash; empty if they were drawn.
    `done` says what was done to the model after training, if anything.
    """
    began = f", beginning with {origin}" if origin else ""
    said = f"Trained on {model.seen:,} real images{began}; a running average of the weights. {done}"

    def write(folder: Path) -> None:
        model.save(folder, origin=said.rstrip() if origin or done else "")

    run_files.publish(storage, _name(stage), write, fence)
    run_files.sweep(storage, run_files.stage_name(stage), fence)


def is_done(storage: Storage, stage: int) -> bool:
    """Whether a stage has been trained to its end: its snapshot is there, every byte of it."""
    return ended_after(storage, stage) is not None


def ended_after(storage: Storage, stage: int) -> int | None:
    """Images seen when a stage ended, by its snapshot; None without one, every byte of it."""
    name = _name(stage)
    if not storage.names(name):
        return None
    found = run_files.verified(storage, name)
    if isinstance(found, str):
        log.warning("the snapshot %s is not whole: %s", storage.at(name), found)
        return None
    return int(json.loads((found / CONFIG).read_text())["seen"])


def snapshot(storage: Storage, stage: int) -> Path:
    """The folder on this host that holds a stage's snapshot, verified.

    Raises:
        CheckpointError: it is not there, or damaged.
    """
    found = run_files.verified(storage, _name(stage))
    if isinstance(found, str):
        raise CheckpointError(
            f"the snapshot {storage.at(_name(stage))} cannot be used ({found}): remove it, and the "
            "same command makes it again from the stage's last checkpoint"
        )
    return found


def _name(stage: int) -> str:
    return f"{run_files.stage_name(stage)}/{run_files.SNAPSHOT}"
