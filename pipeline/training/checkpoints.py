"""Checkpoints: the whole, gathered state of a run, written aside, hashed, renamed.

    <run>/<resolution>/seen-<images>/{networks,ema,adam}.safetensors, state.json, manifest.json

manifest.json comes last and holds the hash of every file: a folder without a manifest that fits is
torn, and the one before it is used.  Only safetensors and JSON are read back, never a pickle.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.config import RunConfig, as_dict
from pipeline.storage import Storage, Where, nothing, open_storage
from pipeline.training.fencing import Fence
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.errors import CheckpointError, DivergenceError, UserError

__all__ = [
    "SNAPSHOT",
    "Checkpoint",
    "describe",
    "finish_stage",
    "furthest",
    "is_done",
    "latest",
    "prune",
    "save",
    "snapshot",
    "stage_folder",
]

log = logging.getLogger(__name__)
NAME = "seen-" + "[0-9]" * 10  # no copy that someone put beside
STATE, SNAPSHOT = "state.json", "snapshot"
VISIBLE_S = 60.0
"""NFS may show other hosts a new folder so much later."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk: verified, its tensors not loaded yet."""

    folder: Path
    """Its files on this host."""
    state: Mapping[str, Any]
    where: str
    """Where it lies, for messages."""

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of `networks`, `ema` or `adam` by name."""
        loaded: dict[str, Tensor] = load_file(self.folder / f"{part}.safetensors")
        return loaded


def stage_folder(run_dir: Path, stage: int) -> Path:
    """The folder of one stage, named by its resolution."""
    return run_dir / _stage_name(stage)


def describe(cfg: RunConfig, stage: int, seen: int, data: str) -> dict[str, Any]:
    """What a checkpoint says of itself: stage, images seen, config, data digest, versions."""
    versions = {name: version(name) for name in ("torch", "deepspeed", "safetensors")}
    about = {"stage": stage, "seen": seen, "config": as_dict(cfg), "data": data}
    return {**about, "versions": versions}


def save(
    where: Where,
    parts: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    fence: Fence | None = None,
) -> str:
    """Writes a checkpoint, verifies what lies on disk and publishes it; its name in the run.

    Args:
        where: folder or URL of the run.
        parts: the gathered tensors of `networks`, `ema` and `adam`, on the CPU.
        state: what `describe` gives.
        fence: the right to write; without one nobody else may be writing.

    Raises:
        CheckpointError: the checkpoint could not be written (a full disk, say); the ones before
            it are untouched.
        DivergenceError: a tensor is not finite.
    """
    seen, storage = state["seen"], open_storage(where)
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise DivergenceError(
                    f"{part}/{name} is not finite after {seen:,} images: training stopped. Try a "
                    "lower schedule.lr, or engine.precision=fp32"
                )

    def write(scratch: Path) -> None:
        for part, tensors in parts.items():
            file = scratch / f"{part}.safetensors"
            save_file({k: v.contiguous() for k, v in tensors.items()}, file)
            _require_equal(file, tensors)
        (scratch / STATE).write_text(json.dumps(dict(state), indent=2))

    final = f"{_stage_name(state['stage'])}/seen-{seen:010d}"
    _publish(storage, final, write, fence)
    return final


def latest(where: Where, world: World | None = None) -> Checkpoint | None:
    """The newest whole checkpoint of a run, found by looking; torn ones are named and left.

    With a world it is the one that rank 0 finds, on every rank.  Collective then.

    Raises:
        CheckpointError: this rank does not get to see what rank 0 found.
    """
    storage = open_storage(where)
    if world is None or world.size == 1:
        return _newest(storage)
    found = _newest(storage) if world.rank == 0 else None
    about = [found.state["stage"] + 1, found.state["seen"]] if found else [0, 0]
    stage, seen = (round(v * world.size) for v in world.mean([float(v) for v in about]))
    if world.rank == 0 or stage == 0:
        return found
    name, until = f"{_stage_name(stage - 1)}/seen-{seen:010d}", time.monotonic() + VISIBLE_S
    while isinstance(opened := _opened(storage, name), str):  # NFS shows it after a while
        if time.monotonic() > until:
            raise CheckpointError(
                f"rank 0 goes on from {storage.at(name)}, which rank {world.rank} does not see "
                f"whole ({opened}): run_dir must be a folder that all hosts share, or a URL"
            )
        time.sleep(1.0)
    return opened


def furthest(where: Where) -> int:
    """Images seen by the newest checkpoint, by its name; what lies in it is not looked at."""
    storage = open_storage(where)
    return max((int(name[-10:]) for name in _names(storage) if storage.is_whole(name)), default=0)


def prune(where: Where, stage: int, keep: int, fence: Fence | None = None) -> None:
    """Drops all but the newest checkpoints of this stage, and all but one of earlier ones."""
    storage = open_storage(where)
    if fence is not None:
        fence.require()
    for earlier in range(stage + 1):
        folder = _stage_name(earlier)
        names = _checkpoints(storage, folder)
        whole = [n for n in names if storage.is_whole(f"{folder}/{n}")]
        kept = set(whole[-(keep if earlier == stage else 1) :])
        for name in names:
            if name not in kept and whole and name < whole[-1]:
                storage.remove(f"{folder}/{name}")
        _sweep(storage, folder, fence)


def _sweep(storage: Storage, folder: str, fence: Fence | None) -> None:
    """Drops what somebody was writing who was killed or came before."""
    for scrap in storage.scraps(folder):
        mark = ".".join(scrap.name.split(".")[2:-1])  # of .seen-0000000096.00000007.0002.partial
        if fence is None or fence.outranks(mark):
            shutil.rmtree(scrap, ignore_errors=True)


def finish_stage(where: Where, stage: int, model: Model, fence: Fence | None = None) -> None:
    """Leaves the stage's snapshot, and in it the mark that the stage is done."""
    storage = open_storage(where)
    _publish(storage, f"{_stage_name(stage)}/{SNAPSHOT}", model.save, fence)
    _sweep(storage, _stage_name(stage), fence)


def is_done(where: Where, stage: int) -> bool:
    """Whether a stage has been trained to its end."""
    storage, name = open_storage(where), f"{_stage_name(stage)}/{SNAPSHOT}"
    if storage.remote:
        return storage.is_whole(name)
    return bool(storage.names(name))  # it appears whole; earlier versions left no manifest


def snapshot(where: Where, stage: int) -> Path:
    """The folder on this host that holds a stage's snapshot, verified.

    Raises:
        CheckpointError: it is not there, or damaged.
    """
    storage, name = open_storage(where), f"{_stage_name(stage)}/{SNAPSHOT}"
    if not storage.remote and not storage.is_whole(name):
        return storage.working / name  # as runs of earlier versions left it
    try:
        return storage.verified(name)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the snapshot {storage.at(name)} cannot be used ({error}): remove it, and the same "
            "command makes it again from the stage's last checkpoint"
        ) from error


def _names(storage: Storage) -> list[str]:
    """The names of all checkpoints, the newest first."""
    folders = [name for name in storage.names() if name[:1].isdigit()]
    names = [f"{folder}/{n}" for folder in folders for n in _checkpoints(storage, folder)]
    return sorted(names, key=lambda n: n.partition("/")[2], reverse=True)


def _newest(storage: Storage) -> Checkpoint | None:
    for name in _names(storage):
        opened = _opened(storage, name)
        if not isinstance(opened, str):
            return opened
        log.warning("passing over the torn checkpoint %s: %s", storage.at(name), opened)
    return None


def _checkpoints(storage: Storage, folder: str) -> list[str]:
    """The names of a stage's checkpoints, oldest first; no copy that someone put beside."""
    return [name for name in storage.names(folder) if fnmatchcase(name, NAME)]


def _opened(storage: Storage, name: str) -> Checkpoint | str:
    """A checkpoint if it is whole, or what is wrong with it."""
    try:
        folder = storage.verified(name)
        state = json.loads((folder / STATE).read_text())
        return Checkpoint(folder, state, storage.at(name))
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _publish(
    storage: Storage, final: str, write: Callable[[Path], None], fence: Fence | None
) -> None:
    """Publishes a folder."""
    mark, gate = (fence.token, fence.require) if fence else ("", nothing)
    try:
        with storage.publishing(final, mark=mark, gate=gate) as scratch:
            write(scratch)
    except UserError:
        raise
    except Exception as error:  # whatever the disk and the libraries raise
        before = _newest(storage)
        raise CheckpointError(
            f"could not write {storage.at(final)} ({type(error).__name__}: {error}): free some "
            "space or mend the folder, then give the same command again; it goes on from "
            f"{before.where if before else 'the beginning'}"
        ) from error


def _require_equal(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Reads back what was written: its hash must be of the right bytes."""
    written = load_file(file)
    wrong = [n for n, t in tensors.items() if not torch.equal(written[n], t.cpu())]
    if wrong or written.keys() != tensors.keys():
        raise OSError(f"{file.name} reads back differently from what was written")


def _stage_name(stage: int) -> str:
    return f"{4 << stage:04d}"
