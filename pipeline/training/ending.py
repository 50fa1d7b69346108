"""What the end of a stage leaves: the average as a model, its F fitted to images if asked."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.data.loader.batch import on_device
from stylealae import StyleALAE
from stylealae.capabilities import Model
from stylealae.config import LossConfig
from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.training.stage import Stage

__all__ = ["finished"]

log = logging.getLogger(__name__)
STEPS = 3000
"""Of the fit."""
PIXELS_AT_ONCE = 1 << 18
"""Of the images that are encoded together."""


def finished(s: "Stage") -> tuple[Model, str]:
    """The model of a stage's snapshot, and what was done to it after training; empty if nothing."""
    model, loss = s.state.model(), s.cfg.loss
    asked = loss.prior_img if isinstance(loss, LossConfig) else 0
    if not asked or s.number < s.cfg.last_stage or not isinstance(model, StyleALAE):
        return model, ""
    w = _styles(s, model, asked)
    try:
        prior = model.fit_prior(w, STEPS, seed=s.cfg.seed)
    except ConfigError as error:
        log.warning("loss.prior_img is %s, but F stays as it is: %s", asked, error)
        return model, ""
    return model.with_prior(prior), f"F was fitted to {len(w):,} images afterwards."


def _styles(s: "Stage", model: StyleALAE, most: int) -> torch.Tensor:
    """E of images of the training split, spread over it, as it may be sorted.  -> [N, W]"""
    split = s.cfg.data.split
    there = s.dataset.count(split)
    n = min(most, there)
    parts = np.array_split(np.arange(n) * there // n, -(-n * model.resolution**2 // PIXELS_AT_ONCE))
    taken = (on_device(s.dataset.take(split, part), 1.0, model.device) for part in parts)
    return torch.cat([model.encode(x) for x in taken])
