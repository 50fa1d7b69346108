"""What is looked at before a run begins or goes on: whether it is the one that is asked for."""

import logging
from typing import TYPE_CHECKING

from pipeline.config import RunConfig

if TYPE_CHECKING:
    from pipeline.storage import Storage
    from pipeline.world import World

__all__ = ["is_complete"]

log = logging.getLogger(__name__)

FEW_IMG, OFTEN = 10_000, 100
"""A data set with fewer images, each shown more often, is learnt by heart."""


def is_complete(cfg: RunConfig, storage: "Storage", world: "World | None" = None) -> bool:
    """Whether there is nothing left to train; says what has changed, and if the images are few.

    Collective, with a world.

    Raises:
        CheckpointError: the run there is another one.
        DataError: there is no data set at data.path.
    """
    from pipeline.data.format.manifest import Manifest
    from pipeline.training.resume import next_stage
    from pipeline.training.same_run import require_same_request

    complete = next_stage(cfg, storage, world) is None
    manifest = Manifest.read(cfg.data.path)
    require_same_request(cfg, storage, manifest.digest, complete=complete)
    if not complete and (world is None or world.rank == 0):
        shown, images = cfg.span(cfg.last_stage)[1], manifest.samples(cfg.data.split)
        if images and images < FEW_IMG and shown > OFTEN * images:
            log.warning(
                "%s has %s images, and the schedule shows %s: each %s times. The critic learns so "
                "few by heart: add images, or shorten schedule.stage_img",
                *(cfg.data.path, f"{images:,}", f"{shown:,}", f"{shown / images:,.0f}"),
            )
    return complete
