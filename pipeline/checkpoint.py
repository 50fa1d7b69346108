"""Checkpoints: the whole, gathered state of a run, written aside, hashed, renamed.

    <run>/<resolution>/seen-<images>/{networks,ema,adam}.safetensors, state.json, manifest.json

manifest.json comes last and holds the hash of every file: a folder without a manifest that fits is
torn, and the one before it is used.  Only safetensors and JSON are read back, never a pickle.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.config import RunConfig, as_dict
from pipeline.world import World
from stylealae.errors import CheckpointError, DivergenceError
from stylealae.family import Model

__all__ = [
    "SNAPSHOT",
    "Checkpoint",
    "describe",
    "finish_stage",
    "is_done",
    "latest",
    "prune",
    "published",
    "save",
    "stage_folder",
]

log = logging.getLogger(__name__)
NAME = "seen-" + "[0-9]" * 10  # no copy that someone put beside
MANIFEST, STATE, SNAPSHOT = "manifest.json", "state.json", "snapshot"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk: verified, its tensors not loaded yet."""

    folder: Path
    state: Mapping[str, Any]

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of `networks`, `ema` or `adam` by name."""
        loaded: dict[str, Tensor] = load_file(self.folder / f"{part}.safetensors")
        return loaded


def stage_folder(run_dir: Path, stage: int) -> Path:
    """The folder of one stage, named by its resolution."""
    return run_dir / f"{4 << stage:04d}"


def describe(cfg: RunConfig, stage: int, seen: int, data: str) -> dict[str, Any]:
    """What a checkpoint says of itself: stage, images seen, config, data digest, versions."""
    versions = {name: version(name) for name in ("torch", "deepspeed", "safetensors")}
    about = {"stage": stage, "seen": seen, "config": as_dict(cfg), "data": data}
    return {**about, "versions": versions}


def save(
    run_dir: Path, parts: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], world: World
) -> Path:
    """Writes a checkpoint on rank 0; every rank raises if that failed.  Collective.

    Args:
        run_dir: folder of the run.
        parts: the gathered tensors of `networks`, `ema` and `adam`, the same on every rank.
        state: what `describe` gives.
        world: the ranks.

    Raises:
        CheckpointError: the checkpoint could not be written (a full disk, say); the ones before
            it are untouched.
        DivergenceError: a tensor is not finite.
    """
    seen = state["seen"]
    final = stage_folder(run_dir, state["stage"]) / f"seen-{seen:010d}"
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise DivergenceError(
                    f"{part}/{name} is not finite after {seen:,} images: training stopped. Try a "
                    "lower schedule.lr, or engine.precision=fp32"
                )

    def write(scratch: Path) -> None:
        for part, tensors in parts.items():
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
                scratch / f"{part}.safetensors",
            )
        (scratch / STATE).write_text(json.dumps(dict(state), indent=2))
        hashes = {f.name: _sha256(f) for f in sorted(scratch.iterdir())}
        (scratch / MANIFEST).write_text(json.dumps({"format": FORMAT, "sha256": hashes}, indent=2))

    _publish_once(final, write, run_dir, world)
    return final


def latest(run_dir: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a run, found by looking; torn ones are named and left."""
    for folder in sorted(run_dir.glob(f"[0-9]*/{NAME}"), key=_age, reverse=True):
        problem = _torn(folder)
        if not problem:
            return Checkpoint(folder, json.loads((folder / STATE).read_text()))
        log.warning("passing over the torn checkpoint %s: %s", folder, problem)
    return None


def prune(run_dir: Path, stage: int, keep: int, world: World) -> None:
    """Drops all but the newest checkpoints of this stage, and all but one of earlier ones."""
    if world.rank:
        return
    for earlier in range(stage + 1):
        folders = sorted(stage_folder(run_dir, earlier).glob(NAME), key=_age)
        scraps = stage_folder(run_dir, earlier).glob(".seen-*.partial")
        for folder in (*folders[: -(keep if earlier == stage else 1)], *scraps):
            shutil.rmtree(folder, ignore_errors=True)


def finish_stage(run_dir: Path, stage: int, model: Model, world: World) -> None:
    """Leaves the stage's snapshot, and in it the mark that the stage is done.  Collective."""
    _publish_once(stage_folder(run_dir, stage) / SNAPSHOT, model.save, run_dir, world)


def is_done(run_dir: Path, stage: int) -> bool:
    """Whether a stage has been trained to its end."""
    return (stage_folder(run_dir, stage) / SNAPSHOT).exists()


@contextmanager
def published(final: Path) -> Iterator[Path]:
    """A scratch folder that becomes `final`, synced to disk, only if the block succeeds."""
    # Of this process alone: the orphan of a killed driver may still be writing the same one.
    scratch = final.with_name(f".{final.name}.{os.getpid()}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        for file in scratch.iterdir():
            _sync(file)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    os.replace(scratch, final)
    _sync(final.parent)


def _publish_once(final: Path, write: Callable[[Path], None], run_dir: Path, world: World) -> None:
    """Publishes a folder from rank zero; every rank raises if that failed."""
    problem = ""
    if world.rank == 0:
        try:
            with published(final) as scratch:
                write(scratch)
        except Exception as error:  # the other ranks wait: they must hear of it, whatever it is
            problem = f"{type(error).__name__}: {error}"
            log.error("could not write %s: %s", final, problem)
    if world.any(bool(problem)):
        before = latest(run_dir)
        raise CheckpointError(
            f"could not write {final} ({problem or 'see rank 0'}): free some space or mend the "
            "folder, then give the same command again; it goes on from "
            f"{before.folder if before else 'the beginning'}"
        )


def _torn(folder: Path) -> str:
    """What is wrong with a checkpoint; empty if it is whole."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if manifest["format"] != FORMAT:
            return f"format {manifest['format']}, this version reads {FORMAT}"
        for name, digest in manifest["sha256"].items():
            if _sha256(folder / name) != digest:
                return f"{name} does not have the hash in {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _age(folder: Path) -> int:
    return int(folder.name.removeprefix("seen-"))


def _sha256(file: Path) -> str:
    digest = sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
