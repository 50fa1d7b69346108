"""Where a run goes on: the stage, and the state that the stage is taken up from.

The invariant of staged training is that `seen` lies in the span of the stage under training.  A
stage leaves its last checkpoint, which the next stage begins from, and its snapshot, which marks it
done.  What of that is damaged or gone decides:

* the last checkpoint, with an older one left: the stage of that one is opened again, and ends as it
  did before;
* every checkpoint, as when only snapshots were copied: the next stage begins from the snapshot, and
  is said to, for it holds the averaged weights in place of those in training;
* a snapshot: it is made again from the stage's last checkpoint.

A run may begin with weights of others (initialization.py).
"""

import logging
from typing import TYPE_CHECKING

from pipeline.config import RunConfig
from pipeline.storage import Storage
from pipeline.training import checkpoints, snapshots
from pipeline.training.checkpoint_state import Handed
from pipeline.training.checkpoints import Checkpoint, Handover
from pipeline.training.same_run import require_same_run
from stylealae.errors import CheckpointError
from stylealae.families import FAMILIES, sections
from stylealae.schedule import at_stage

if TYPE_CHECKING:
    from pipeline.world import World

__all__ = ["next_stage", "start_of"]

log = logging.getLogger(__name__)


def next_stage(cfg: RunConfig, storage: Storage, world: "World | None" = None) -> int | None:
    """The stage that a run goes on with; None when all are done.

    With a world it is what rank 0 finds, on every rank.  Collective then.
    """
    if world is None or world.size == 1:
        return _next_stage(cfg, storage)
    found = _next_stage(cfg, storage) if world.rank == 0 else None
    (stage,) = world.first([-1.0 if found is None else found])
    return None if stage < 0 else int(stage)


def _next_stage(cfg: RunConfig, storage: Storage) -> int | None:
    open_ = [stage for stage in cfg.stages if not _is_done(cfg, storage, stage)]
    if not open_:
        return None
    found = checkpoints.latest(storage)
    if found is None:
        return open_[0]
    at = cfg.progress(int(found.state["seen"])).stage
    missing = [s for s in open_ if s < at and not _ended(cfg, storage, s)]
    for stage in missing:
        log.warning("the snapshot of stage %d is gone, and with it the last checkpoint", stage)
    left = [stage for stage in open_ if stage not in missing]
    if left and at < left[0]:
        log.warning(
            "stage %d is done, but no checkpoint after %s is whole: stage %d is opened again there",
            *(left[0] - 1, found.where, at),
        )
        return at
    return left[0] if left else None


def _is_done(cfg: RunConfig, storage: Storage, stage: int) -> bool:
    """Whether a stage has ended; of the last one, whether its end has not been put off since.

    Raises:
        CheckpointError: it ended after another number of images than it is asked to.
    """
    seen, (_, end) = snapshots.ended_after(storage, stage), cfg.span(stage)
    if seen is None or (seen < end and stage == cfg.last_stage):
        return False
    if not end <= seen < end + at_stage(cfg.schedule.batch, stage):
        raise CheckpointError(
            f"stage {stage} of {storage.where} ended after {seen:,} images, and the schedule that "
            f"is asked for ends it after {end:,}: give this run a run_dir of its own "
            "(run_dir=runs/another), or the schedule that it had (schedule.stage_img, "
            "schedule.total_img)"
        )
    return True


def start_of(
    cfg: RunConfig, stage: int, storage: Storage, data: str, world: "World"
) -> Checkpoint | Handover | None:
    """What a stage is taken up from; None where a run begins with drawn weights.  Collective.

    Args:
        cfg: the run.
        stage: the stage to train.
        storage: where the run lies.
        data: digest of the data set's manifest.
        world: the ranks.

    Raises:
        CheckpointError: the newest checkpoint is of another model, seed or data set, or it lies
            outside the stage's span.
    """
    first, end = cfg.span(stage)
    found = checkpoints.latest(storage, world, upto=cfg.reached(stage))
    if found is None:
        if stage > cfg.first_stage:
            return _from_snapshot(cfg, stage, storage)
        if not cfg.init.from_:
            return None
        from pipeline.training import initialization  # loads torch, which next_stage does without

        return initialization.begin(cfg)
    require_same_run(cfg, storage, found, data)
    seen = int(found.state["seen"])
    if seen < first:
        raise CheckpointError(
            f"stage {stage} spans images {first:,} to {end:,}, and the newest whole checkpoint, "
            f"{found.where}, stands at {seen:,}: train the stages before it first"
        )
    return found


def _ended(cfg: RunConfig, storage: Storage, stage: int) -> bool:
    return checkpoints.has_ended(storage, stage, cfg.reached(stage))


def _from_snapshot(cfg: RunConfig, stage: int, storage: Storage) -> Handover:
    """The state that the snapshot of the stage before stands in for."""
    import torch

    from stylealae.interop import snapshot

    folder = snapshots.snapshot(storage, stage - 1)
    found = snapshot.read(
        folder, lambda name: sections(name).model, lambda name, model: FAMILIES[name].build(model)
    )
    if (found.family, found.model) != (cfg.family, cfg.model):
        raise CheckpointError(
            f"the snapshot {folder} is of another model ({found.family}, {found.model}): give this "
            "run a run_dir of its own"
        )
    log.warning(
        "no checkpoint of stage %d is there: stage %d begins from its snapshot, with the averaged "
        "weights in place of those in training, so the run is not the one it would have been",
        *(stage - 1, stage),
    )
    with torch.device("meta"):
        beside = frozenset(FAMILIES[cfg.family].build(cfg.model).means())
    networks = {name: t for name, t in found.tensors.items() if name not in beside}
    seen = max(found.seen, cfg.span(stage)[0])
    state: Handed = {"stage": stage - 1, "seen": seen, "origin": found.origin}
    return Handover(state, str(folder), {"networks": networks, "ema": found.tensors})
