"""What is looked at before a run begins or goes on: whether it is the one that is asked for."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import RunConfig
from stylealae.config import MAX_P, AugmentConfig
from stylealae.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pipeline.data.format.manifest import Manifest
    from pipeline.storage import Storage
    from pipeline.world import World

__all__ = ["RequestedRun", "is_complete", "lacking_sizes"]

log = logging.getLogger(__name__)

FEW_IMG, OFTEN = 10_000, 100
"""A data set with fewer images, each shown more often, is learnt by heart."""
BEGUN = frozenset(("environment.jsonl", "fence", "images", "metrics.jsonl", "tensorboard"))
"""What a run's folder has one of as soon as it has begun, or else the folders of its stages."""
RISE = 0.05
"""Share of a run in which an adaptive p can rise by 1."""
SOME = 3


@dataclass(frozen=True)
class RequestedRun:
    """A run that is asked for: its config, with all that was left open decided, and its place."""

    cfg: RunConfig
    storage: "Storage"
    """Where it lies."""


def is_complete(run: RequestedRun, world: "World | None" = None) -> bool:
    """Whether there is nothing left to train; says what has changed, and if the images are few.

    Collective, with a world.

    Raises:
        CheckpointError: the run there is another one.
        ConfigError: run_dir is a data set's.
        DataError: there is no data set at data.path, or one without an image size of the run.
    """
    from pipeline.data.format.manifest import Manifest
    from pipeline.data.prepare.destination import NOTES
    from pipeline.training.resume import next_stage
    from pipeline.training.same_run import require_same_request

    cfg, storage = run.cfg, run.storage
    if not storage.remote and (Path(storage.where) / NOTES).is_dir():
        raise ConfigError(
            f"run_dir is {storage.where}, and a data set is there: name another folder, as in "
            "run_dir=runs/mine"
        )
    stage = next_stage(cfg, storage, world)
    complete = stage is None
    manifest = Manifest.read(cfg.data.path)
    if stage is not None and (lacking := lacking_sizes(cfg, manifest, stage)):
        raise DataError(lacking)
    require_same_request(cfg, storage, manifest.digest, complete=complete)
    if not complete and (world is None or world.rank == 0):
        if not storage.remote:
            _tell_of_strangers(Path(storage.where))
        shown = cfg.span(cfg.last_stage)[1]
        images = max(manifest.samples(cfg.data.split) - cfg.data.validation_img, 0)
        if images and images < FEW_IMG and shown > OFTEN * images:
            log.warning(
                "%s has %s images, and the schedule shows %s: each %s times. The critic learns so "
                "few by heart: add images, or shorten schedule.stage_img",
                *(cfg.data.path, f"{images:,}", f"{shown:,}", f"{shown / images:,.0f}"),
            )
        _tell_of_a_slow_rise(cfg.augment, shown)
    return complete


def _tell_of_a_slow_rise(cfg: AugmentConfig, shown: int) -> None:
    """Warns of an adaptive p for which the run is too short."""
    if cfg.mode == "adaptive" and (most := cfg.p + shown / cfg.rise_img) < MAX_P:
        log.warning(
            "augment.rise_img is %s, and the schedule shows %s images: p reaches %.2f at most, "
            "whatever the critic does. Give augment.rise_img=%d",
            *(f"{cfg.rise_img:,}", f"{shown:,}", most, max(1, round(RISE * shown))),
        )


def _tell_of_strangers(run_dir: Path) -> None:
    """Warns of a run that is about to begin in a folder of something else."""
    names = sorted(path.name for path in run_dir.iterdir()) if run_dir.is_dir() else []
    if names and BEGUN.isdisjoint(names) and not any(name.isdecimal() for name in names):
        some = ", ".join(names[:SOME]) + (", ..." if len(names) > SOME else "")
        log.warning(
            "run_dir is %s, which holds %d files and folders that are of no run (%s): the run is "
            "written beside them; name a new folder to keep them apart", run_dir, len(names), some,
        )  # fmt: skip


def lacking_sizes(cfg: RunConfig, manifest: "Manifest", stage: int) -> str:
    """A sentence where a stage, from this one on, has no images of its size; else empty."""
    sides = [4 << s for s in cfg.stages if s >= stage]
    missing = [f"{side}x{side}" for side in sides if side not in manifest.resolutions]
    if not missing:
        return ""
    return (
        f"{cfg.data.path} has no images of {', '.join(missing)}, only of "
        f"{', '.join(map(str, manifest.resolutions))}: prepare it with all resolutions, into a "
        "new folder, or change model.resolution"
    )
