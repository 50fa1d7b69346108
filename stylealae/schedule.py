"""Images seen -> where the run stands: stage, alpha, resolution, batch and learning rate."""

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from stylealae.config import ScheduleConfig

T = TypeVar("T")

__all__ = ["Growth", "Progress", "at_stage", "progress_at", "stage_span"]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How far the networks have grown."""

    stage: int
    """Index of the newest block: 0 is 4x4, counted upwards."""
    alpha: float = 1.0
    """Weight of the newest block, 0 (not there yet) to 1 (grown)."""

    @property
    def resolution(self) -> int:
        """Side of the images at this stage, in pixels."""
        return 4 << self.stage


@dataclass(frozen=True, kw_only=True)
class Progress(Growth):
    """Where a run stands: its growth and what one iteration is made of."""

    batch: int
    """Images in a global batch."""
    lr: float
    """Learning rate of Adam."""


def stage_span(stage: int, last_stage: int, cfg: ScheduleConfig) -> tuple[int, int]:
    """First image of a stage and the first after it; the last stage runs on to `total_img`."""
    ends = list(accumulate(at_stage(cfg.stage_img, s) for s in range(last_stage + 1)))
    first = ends[stage - 1] if stage else 0
    return first, max(ends[-1], cfg.total_img) if stage == last_stage else ends[stage]


def progress_at(seen: int, last_stage: int, cfg: ScheduleConfig) -> Progress:
    """Where the run stands once `seen` real images have been shown.

    alpha rises as a half sine over the fade, (1 - cos(pi t)) / 2, as in the released code.
    """
    stage = next(
        (s for s in range(last_stage) if seen < stage_span(s, last_stage, cfg)[1]), last_stage
    )
    fade_img = cfg.fade_fraction * at_stage(cfg.stage_img, stage)
    into = seen - stage_span(stage, last_stage, cfg)[0]
    faded = stage == 0 or into >= fade_img
    return Progress(
        stage=stage,
        alpha=1.0 if faded else (1.0 - math.cos(math.pi * into / fade_img)) / 2.0,
        batch=at_stage(cfg.batch, stage),
        lr=at_stage(cfg.lr, stage),
    )


def at_stage(values: tuple[T, ...], stage: int) -> T:
    """The entry of a per-stage tuple; a short tuple goes on with its last entry."""
    return values[min(stage, len(values) - 1)]
