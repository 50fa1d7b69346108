"""Images seen -> where the run stands: stage, alpha, resolution, batch and learning rate."""

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from stylealae.config import ScheduleConfig

T = TypeVar("T")

__all__ = ["Growth", "Progress", "at_stage", "due", "progress_at", "stage_span"]


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
    """Learning rate."""
    frozen: bool = False
    """Whether some layers are not updated yet."""


def stage_span(
    stage: int, last_stage: int, cfg: ScheduleConfig, first_stage: int = 0
) -> tuple[int, int]:
    """First image of a stage and the first after it; the last stage runs on to `total_img`."""
    stages = range(first_stage, last_stage + 1)
    ends = dict(zip(stages, accumulate(at_stage(cfg.stage_img, s) for s in stages), strict=True))
    first = ends[stage - 1] if stage > first_stage else 0
    return first, max(ends[stage], cfg.total_img) if stage == last_stage else ends[stage]


def progress_at(
    seen: int,
    last_stage: int,
    cfg: ScheduleConfig,
    first_stage: int = 0,
    first_alpha: float = 1.0,
) -> Progress:
    """Where the run stands once `seen` real images have been shown.

    alpha rises as a half sine over the fade, (1 - cos(pi t)) / 2, as in the released code; in the
    first stage from `first_alpha`, which is 1 unless that stage's block is not grown yet.
    """
    spans = {s: stage_span(s, last_stage, cfg, first_stage) for s in range(first_stage, last_stage)}
    stage = next((s for s, (_, end) in spans.items() if seen < end), last_stage)
    first, end = stage_span(stage, last_stage, cfg, first_stage)
    fade_img, into = cfg.fade_fraction * at_stage(cfg.stage_img, stage), seen - first
    faded_img = into + (fade_img * _risen(first_alpha) if stage == first_stage else 0.0)
    faded = faded_img >= fade_img
    fallen = _rise((into / (end - first) - cfg.lr_falls_from) / (1.0 - cfg.lr_falls_from))
    left = 1.0 if stage < last_stage else 1.0 - (1.0 - cfg.lr_final) * fallen
    return Progress(
        stage=stage,
        alpha=1.0 if faded else _rise(faded_img / fade_img),
        batch=at_stage(cfg.batch, stage),
        lr=at_stage(cfg.lr, stage) * left,
    )


def _rise(t: float) -> float:
    """From 0 at t = 0 to 1 at t = 1, along half a cosine."""
    return (1.0 - math.cos(math.pi * min(max(t, 0.0), 1.0))) / 2.0


def _risen(share: float) -> float:
    """The t at which `_rise` is at a share."""
    return math.acos(1.0 - 2.0 * share) / math.pi


def due(seen: int, every: int, batch: int) -> bool:
    """Whether a multiple of `every` images was passed by the last batch."""
    return seen // every > (seen - batch) // every


def at_stage(values: tuple[T, ...], stage: int) -> T:
    """The entry of a per-stage tuple; a short tuple goes on with its last entry."""
    return values[min(stage, len(values) - 1)]
