"""Checkpoints: the whole, gathered state of a run, written aside, hashed, renamed.

    <run>/<resolution>/seen-<images>/{networks,ema,adam}.safetensors, state.json, manifest.json

manifest.json comes last and holds the hash of every file: a folder without a manifest that fits is
torn, and the one before it is used.  Only safetensors and JSON are read back, never a pickle.

torch is imported by what reads or writes tensors: a driver, which looks for the newest checkpoint,
does without.
"""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage import Storage
from pipeline.storage.local import VISIBLE_S
from pipeline.training import run_files
from pipeline.training.checkpoint_state import CheckpointState, Handed
from pipeline.training.fencing import Fence
from stylealae.errors import CheckpointError, DivergenceError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.world import World

__all__ = [
    "NETWORKS",
    "STATE",
    "Checkpoint",
    "Handover",
    "Parts",
    "every",
    "fetched",
    "furthest",
    "has_ended",
    "latest",
    "newest",
    "prune",
    "save",
]

log = logging.getLogger(__name__)
Parts = Mapping[str, Mapping[str, "Tensor"]]
"""Tensors by part of the state, `networks`, `ema` or `adam`, and by name."""
STATE, NETWORKS = "state.json", "networks.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk: verified, its tensors not loaded yet."""

    folder: Path
    """Its files on this host."""
    state: CheckpointState
    where: str
    """Where it lies, for messages."""

    @property
    def name(self) -> str:
        """Its name in the run."""
        stage, seen = self.state["stage"], self.state["seen"]
        return f"{run_files.stage_name(stage)}/{run_files.checkpoint_name(seen)}"

    def tensors(self, part: str) -> dict[str, "Tensor"]:
        """The tensors of `networks`, `ema` or `adam` by name."""
        from safetensors.torch import load_file

        loaded: dict[str, Tensor] = load_file(self.folder / f"{part}.safetensors")
        return loaded


@dataclass(frozen=True)
class Handover:
    """Weights that a stage begins with, in the place of a checkpoint."""

    state: Handed
    where: str
    parts: Mapping[str, dict[str, "Tensor"]]

    def tensors(self, part: str) -> dict[str, "Tensor"]:
        """The tensors of `networks` or `ema` by name."""
        return self.parts[part]


def save(
    storage: Storage,
    parts: Parts,
    state: CheckpointState,
    fence: Fence | None = None,
) -> str:
    """Writes a checkpoint, verifies what lies on disk and publishes it; its name in the run.

    Args:
        storage: where the run lies.
        parts: the gathered tensors of `networks`, `ema` and `adam`, on the CPU.
        state: what `checkpoint_state.describe` gives.
        fence: the right to write; without one nobody else may be writing.

    Raises:
        CheckpointError: the checkpoint could not be written (a full disk, say); the ones before
            it are untouched.
        DivergenceError: a tensor is not finite.
    """
    from stylealae.tensor_file import write_tensors

    seen = state["seen"]
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
            write_tensors(file, tensors)
            _require_equal(file, tensors)
        (scratch / STATE).write_text(json.dumps(dict(state), indent=2))

    final = f"{run_files.stage_name(state['stage'])}/{run_files.checkpoint_name(seen)}"

    def before() -> str:
        newest = _newest(storage)
        return newest.where if newest else "the beginning"

    run_files.publish(storage, final, write, fence, goes_on_from=before)
    return final


def latest(
    storage: Storage, world: "World | None" = None, *, upto: int | None = None
) -> Checkpoint | None:
    """The newest checkpoint of a run that verifies; torn ones are logged and skipped.

    With a world it is the one that rank 0 finds, on every rank.  Collective then.

    Args:
        storage: where the run lies.
        world: the ranks.
        upto: images after which checkpoints are left aside.

    Raises:
        CheckpointError: a checkpoint is there and cannot be read, or this rank does not get to see
            what rank 0 found.
    """
    if world is None or world.size == 1:
        return _newest(storage, upto)
    found = _newest(storage, upto) if world.rank == 0 else None
    about = [found.state["stage"], found.state["seen"]] if found else [-1, 0]
    stage, seen = map(int, world.first(about))
    if world.rank == 0 or stage < 0:
        return found
    name = f"{run_files.stage_name(stage)}/{run_files.checkpoint_name(seen)}"
    until = time.monotonic() + VISIBLE_S
    while isinstance(opened := _opened(storage, name), str):  # NFS shows it after a while
        if time.monotonic() > until:
            raise CheckpointError(
                f"rank 0 goes on from {storage.at(name)}, which rank {world.rank} does not see "
                f"whole ({opened}): run_dir must be a folder that all hosts share, or a URL"
            )
        time.sleep(1.0)
    return opened


def every(storage: Storage) -> list[Checkpoint]:
    """All checkpoints of a run, the earliest first.

    Raises:
        CheckpointError: one of them is torn, or cannot be read.
    """
    found = []
    for name in reversed(_names(storage)):
        opened = _opened(storage, name)
        if isinstance(opened, str):
            raise CheckpointError(f"the checkpoint {storage.at(name)} is damaged: {opened}")
        found.append(opened)
    return found


def fetched(storage: Storage, checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint of `every` with its files on this host: of a store, one is there at a time.

    Raises:
        CheckpointError: it is no longer whole.
    """
    opened = _opened(storage, checkpoint.name) if storage.remote else checkpoint
    if isinstance(opened, str):
        raise CheckpointError(f"the checkpoint {checkpoint.where} is damaged: {opened}")
    return opened


def newest(storage: Storage) -> Checkpoint | None:
    """The newest published checkpoint, its state.json read, its tensors not verified."""
    for name in _names(storage):
        with suppress(OSError, ValueError):  # torn: the one before it is used
            if storage.is_whole(name):
                files = storage.hashes(name)  # in a bucket they lie in a folder of their writer's
                state_file = next((f for f in files if Path(f).name == STATE), STATE)
                state = json.loads(storage.read(f"{name}/{state_file}"))
                return Checkpoint(storage.working / name, state, storage.at(name))
    return None


def furthest(storage: Storage) -> int:
    """Images seen by the newest checkpoint, by its name alone; its files are not read."""
    whole = filter(storage.is_whole, _names(storage))
    return max(map(run_files.seen_of, whole), default=0)


def prune(storage: Storage, stage: int, seen: int, keep: int, fence: Fence | None = None) -> None:
    """Removes the checkpoints that one that was just saved makes superfluous.

    Of its stage it and the `keep` - 1 before it are kept, of earlier stages the last.  One of more
    images, which the run did not go on from as it is damaged, does not count and is left.
    """
    if fence is not None:
        fence.require()
    saved = run_files.checkpoint_name(seen)
    for earlier in range(stage + 1):
        folder = run_files.stage_name(earlier)
        names = [n for n in _checkpoints(storage, folder) if n <= saved]
        whole = [n for n in names if storage.is_whole(f"{folder}/{n}")]
        kept = set(whole[-(keep if earlier == stage else 1) :])
        for name in names:
            if name not in kept and whole and name < whole[-1]:
                storage.remove(f"{folder}/{name}")
        run_files.sweep(storage, folder, fence)


def has_ended(storage: Storage, stage: int, end: int) -> bool:
    """Whether the checkpoint with which a stage ends, after `end` images, is there and whole."""
    name = f"{run_files.stage_name(stage)}/{run_files.checkpoint_name(end)}"
    return storage.is_whole(name) and isinstance(run_files.verified(storage, name), Path)


def _names(storage: Storage) -> list[str]:
    """The names of all checkpoints, the newest first."""
    try:
        folders = [name for name in storage.names() if name[:1].isdigit()]
        names = [f"{folder}/{n}" for folder in folders for n in _checkpoints(storage, folder)]
    except OSError as error:
        raise CheckpointError(
            f"{storage.where} cannot be listed ({error}): mend the permissions or the file system, "
            "then give the same command again"
        ) from error
    return sorted(names, key=lambda n: n.partition("/")[2], reverse=True)


def _newest(storage: Storage, upto: int | None = None) -> Checkpoint | None:
    for name in _names(storage):
        if upto is not None and run_files.seen_of(name) > upto:
            continue
        opened = _opened(storage, name)
        if not isinstance(opened, str):
            return opened
        log.warning("passing over the torn checkpoint %s: %s", storage.at(name), opened)
    return None


def _checkpoints(storage: Storage, folder: str) -> list[str]:
    """The names of a stage's checkpoints, oldest first; no copy that someone put beside."""
    return [name for name in storage.names(folder) if fnmatchcase(name, run_files.CHECKPOINTS)]


def _opened(storage: Storage, name: str) -> Checkpoint | str:
    """A checkpoint if it is whole, or what is wrong with it."""
    folder = run_files.verified(storage, name)
    if isinstance(folder, str):
        return folder
    try:
        found = Checkpoint(folder, json.loads((folder / STATE).read_text()), storage.at(name))
        if found.name == name:
            return found
        return f"{STATE} is of {found.name}"
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        return f"{STATE} is torn ({type(error).__name__}: {error})"


def _require_equal(file: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Reads back what was written: its hash must be of the right bytes."""
    import torch
    from safetensors.torch import load_file

    written = load_file(file)
    wrong = [n for n, t in tensors.items() if not torch.equal(written[n], t.cpu())]
    if wrong or written.keys() != tensors.keys():
        raise OSError(f"{file.name} reads back differently from what was written")
