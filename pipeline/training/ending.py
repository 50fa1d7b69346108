"""What the end of a stage leaves: the average as a model, its F fitted to images if asked."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.data.loader.batch import on_device
from stylealae import StyleALAE
from stylealae.capabilities import Model
from stylealae.config import LossConfig

if TYPE_CHECKING:
    from pipeline.training.stage import Stage

__all__ = ["finished"]

log = logging.getLogger(__name__)
STEPS = 3000
"""Of the fit."""
PIXELS_AT_ONCE = 1 << 18
"""Of the images that are encoded together."""


def finished(s: "Stage") -> Model:
    """The model of a stage's snapshot."""
    model, loss = s.state.model(), s.cfg.loss
    asked = loss.prior_img if isinstance(loss, LossConfig) else 0
    if not asked or s.number < s.cfg.last_stage or not isinstance(model, StyleALAE):
        return model
    there = s.dataset.count(s.cfg.data.split)
    n = min(asked, there)
    log.info("fitting F to %s images", f"{n:,}")
    ids = np.arange(n) * there // n  # spread over the split, which may be sorted
    parts = np.array_split(ids, -(-n * model.resolution**2 // PIXELS_AT_ONCE))
    w = [
        model.encode(on_device(s.dataset.take(s.cfg.data.split, part), 1.0, model.device))
        for part in parts
    ]
    return model.with_prior(model.fit_prior(torch.cat(w), STEPS, seed=s.cfg.seed))
