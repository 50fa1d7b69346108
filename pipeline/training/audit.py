"""An audit: a stretch of a run is trained again, and what it comes to is compared with the run.

    stretch = stretch_of(open_storage("runs/demo"))    the last checkpoint but one to the last
    found = audit(stretch, joined(stretch.cfg.engine, gpu=False))
    found.verdict                                         "bit for bit", "within 0.1" or "differs"

Training is a function of (config, data set, checkpoint): on the kernels and the number of ranks of
the run a replay gives the same bits, so one altered weight, moment, loss, image or setting shows.
Elsewhere sums are rounded in another order, and distances are compared with a tolerance.  The real
trainer replays, in a folder of its own; nothing of the run is written.
"""

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RunConfig, read_saved
from pipeline.data.loader.loader import Loader
from pipeline.storage import Storage, open_storage
from pipeline.storage.publish import write_manifest
from pipeline.training import checkpoints
from pipeline.training.certificate import Certificate, compared, log_lines
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.environment import environment
from pipeline.training.logs import ENVIRONMENT
from pipeline.training.post_training import finished
from pipeline.training.same_run import require_same_run
from pipeline.training.stage import open_stage, readable_by
from pipeline.training.trainer import iterate
from pipeline.world import World
from stylealae.errors import CheckpointError
from stylealae.families import FAMILIES
from stylealae.schedule import at_stage

__all__ = ["TOLERANCE", "Stretch", "audit", "stretch_of"]

TOLERANCE = 0.1
"""Relative distance up to which a replay on other kernels is taken for the same."""
NEVER = 1 << 60


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What lies between two checkpoints of a run that follow each other in one stage."""

    storage: Storage
    """Where the run lies."""
    cfg: RunConfig
    """The run's, as the later checkpoint holds it; on as many threads as it was trained with."""
    start: Checkpoint | None
    """What is gone on from; None is the beginning of the run."""
    end: Checkpoint
    """What the replay is compared with."""
    there: Mapping[str, Any]
    """Where it was trained, as far as the run says."""

    @property
    def stage(self) -> int:
        """The stage that is replayed."""
        return int(self.end.state["stage"])

    @property
    def span(self) -> tuple[int, int]:
        """Images seen by both checkpoints."""
        return int(self.start.state["seen"]) if self.start else 0, int(self.end.state["seen"])


def stretch_of(storage: Storage, upto: int | None = None, data: str = "") -> Stretch:
    """The stretch of a run that ends at a checkpoint, every checkpoint of it verified.

    Args:
        storage: where the run lies.
        upto: images seen by the checkpoint; the newest if None.
        data: folder or URL of the data set, where it is not where it was.

    Raises:
        CheckpointError: a checkpoint is damaged, there is none, or a stage began since the one
            before.
    """
    found = checkpoints.every(storage)
    seen = [int(c.state["seen"]) for c in found]
    if not found:
        exists = storage.remote or Path(storage.where).exists()
        missing = "holds no checkpoints" if exists else "does not exist"
        raise CheckpointError(
            f"{storage.where} {missing}: give the folder that training wrote, such as runs/demo"
        )
    if upto not in (None, *seen):
        raise CheckpointError(
            f"{storage.where} has no checkpoint {'' if upto is None else f'of {upto:,} images '}to "
            f"compare with: it has those of {', '.join(map(str, seen)) or 'none'}"
        )
    at = len(seen) - 1 if upto is None else seen.index(upto)
    started = [line for line in log_lines(storage, ENVIRONMENT) if line["seen"] < seen[at]]
    there = started[-1] if started else {}
    stretch = Stretch(
        storage=storage,
        cfg=_config(found[at], data, there),
        start=found[at - 1] if at else None,
        end=found[at],
        there=there,
    )
    first, begins = stretch.span[0], stretch.cfg.span(stretch.stage)[0]
    if first < begins:
        raise CheckpointError(
            f"stage {stretch.stage} begins after {begins:,} images and the checkpoint before "
            f"{stretch.end.where} is of {first:,}: only what lies in one stage is replayed"
        )
    return stretch


def audit(stretch: Stretch, world: World, tolerance: float = TOLERANCE) -> Certificate | None:
    """Trains a stretch again and compares; None on ranks but the first.  Collective.

    Args:
        stretch: what is replayed.
        world: the ranks, all on this host.
        tolerance: relative distance that other kernels, or another number of ranks, may cause.

    Raises:
        UserError: the data set is another one or damaged, or the config does not fit the ranks.
    """
    storage, stage, (first, last) = stretch.storage, stretch.stage, stretch.span
    digest = readable_by(stretch.cfg, stage).manifest.digest
    require_same_run(stretch.cfg, storage, stretch.end, digest)
    here = environment(world.device)
    exact = _as_trained(stretch.there, here, world)
    with _scratch(world) as folder:
        if stretch.start and world.rank == 0:
            start = checkpoints.fetched(storage, stretch.start)
            shutil.copytree(start.folder, folder / start.name)
            if storage.remote:  # whose manifest names the files of each writer
                write_manifest(folder / start.name)
        world.any(False)  # it is there
        cfg, replay = replace(stretch.cfg, run_dir=str(folder)), open_storage(folder)
        with open_stage(cfg, stage, world, replay, report=lambda _: None, fence=None) as opened:
            s = replace(opened, end=last)
            iterate(s, world)
            s.saver.finish()
        worked = "".join(cfg.post_training(stage)) if last >= opened.end else ""
        if worked and exact:
            s.saver.finish_stage(stage, lambda: finished(s), s.state.origin)
        if world.rank:
            return None
        order, draws = _input_hashes(cfg, stage, first, last)
        return compared(
            storage, replay, (stretch.start, stretch.end), tolerance,
            exact=exact, worked_on=worked,
            about={
                "iterations": (last - first) // at_stage(cfg.schedule.batch, stage),
                "order": order, "draws": draws, "data": digest, "ranks": world.size,
                "here": here, "there": stretch.there,
            },
        )  # fmt: skip


def _as_trained(there: Mapping[str, Any], here: Mapping[str, Any], world: World) -> bool:
    """Whether a replay has to equal the training in every bit: same kernels, ranks and no GPU."""
    on_cpus = there.get("gpu") is None and here["gpu"] is None
    alike = (there.get("ranks"), there.get("kernels")) == (world.size, here["kernels"])
    return on_cpus and alike


def _config(end: Checkpoint, data: str, there: Mapping[str, Any]) -> RunConfig:
    """The config of a replay, without image grids, metrics, checkpoints and observers."""
    cfg = read_saved(end.state["config"], origin=end.where)
    threads = int(there.get("kernels", {}).get("threads", cfg.engine.threads))
    return replace(
        cfg,
        data=replace(cfg.data, path=data or cfg.data.path),
        engine=replace(cfg.engine, threads=threads, profile=0),
        log=replace(cfg.log, grid_img=NEVER, batches="", to=()),  # theirs may name any code
        checkpoint=replace(cfg.checkpoint, every_img=NEVER),
        metrics=replace(cfg.metrics, every_img=0),
    )


@contextmanager
def _scratch(world: World) -> Iterator[Path]:
    """A temporary folder with a random name that all ranks share.  Collective."""
    number = int(world.first([secrets.randbits(48)])[0])
    folder = Path(gettempdir(), f"stylealae-audit-{number:012x}")
    if world.rank == 0:
        folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        if world.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


def _input_hashes(cfg: RunConfig, stage: int, first: int, last: int) -> tuple[str, str]:
    """SHA-256 of the sample ids and of the phase inputs of all ranks, computed without training."""
    loader = Loader(readable_by(cfg, stage), seed=cfg.seed)
    batch = at_stage(cfg.schedule.batch, stage)
    order, draws = loader.sample_ids(first, batch, (last - first) // batch), sha256()
    family = FAMILIES[cfg.family]
    inputs = family.sampler(
        cfg.model, cfg.loss, seed=cfg.seed, mine=slice(0, batch), device=torch.device("cpu"),
        labelled=loader.labelled,
    )  # fmt: skip
    for seen in range(first, last, batch):
        for phase in family.phases(cfg.loss, seen // batch):
            drawn = inputs.draw(phase.name, seen, cfg.progress(seen))
            for tensor in (getattr(drawn, field.name) for field in fields(drawn)):
                if isinstance(tensor, Tensor):
                    draws.update(tensor.contiguous().numpy().tobytes())
    return sha256(order.astype("<i8").tobytes()).hexdigest(), draws.hexdigest()
