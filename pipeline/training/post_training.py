"""What the end of a stage leaves: the average as a model, which may be worked on once more."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.data.loader.batch import on_device
from stylealae import StyleALAE
from stylealae.capabilities import Model
from stylealae.errors import ConfigError, DivergenceError

if TYPE_CHECKING:
    from pipeline.training.stage import Stage

__all__ = ["finished"]

log = logging.getLogger(__name__)
STEPS = 3000
"""Of the fit of F."""
PIXELS_AT_ONCE = 1 << 18
"""Of the images that are read, and encoded, together."""
KEPT = 1 << 28
"""Bytes of images that are kept, to be shown again and again."""


def finished(s: "Stage") -> tuple[Model, str]:
    """The model of a stage's snapshot, and what was done to it after training; empty if nothing."""
    model, work = s.state.model(), s.cfg.post_training(s.number)
    if not (work and isinstance(model, StyleALAE)):
        return model, ""
    model, fitted = _fitted(s, model, work.get("F", 0))
    model, recovered = _recovered(s, model, work.get("EG", 0))
    return model, " ".join(done for done in (fitted, recovered) if done)


def _fitted(s: "Stage", model: StyleALAE, most: int) -> tuple[StyleALAE, str]:
    """F fitted to the styles of at most so many images."""
    if not most:
        return model, ""
    w = _styles(s, model, most)
    try:
        prior = model.fit_prior(w, STEPS, seed=s.cfg.seed)
    except ConfigError as error:
        log.warning("loss.prior_img is %s, but F stays as it is: %s", most, error)
        return model, ""
    return model.with_prior(prior), f"F was fitted to {len(w):,} images afterwards."


def _recovered(s: "Stage", model: StyleALAE, count: int) -> tuple[StyleALAE, str]:
    """E and G after they have learned to recover the styles of F, beside so many images."""
    if not count:
        return model, ""
    capacity = KEPT // (model.model.channels * model.resolution**2)
    kept = torch.cat([*_sampled(s, model, min(count, capacity))])  # random reads would be slow

    def take(ids: torch.Tensor) -> torch.Tensor:
        return on_device(kept[ids], 1.0, model.device)

    try:
        found = model.recover(take, len(kept), count, seed=s.cfg.seed)
    except DivergenceError as error:
        log.warning("loss.recover_img is %s, but E and G stay as they are: %s", count, error)
        return model, ""
    lost = f"{found.before:.1%} of their variance was lost on the way back, {found.after:.1%} is"
    return model.with_recovery(found), f"E and G learned to recover the styles of F: {lost}."


def _styles(s: "Stage", model: StyleALAE, most: int) -> torch.Tensor:
    """E of at most so many images.  -> [N, W]"""
    parts = _sampled(s, model, most)
    return torch.cat([model.encode(on_device(part, 1.0, model.device)) for part in parts])


def _sampled(s: "Stage", model: StyleALAE, most: int) -> Iterator[torch.Tensor]:
    """Images that were shown, evenly from their split, as it may be sorted.  -> uint8 [n, C, R, R]

    Those kept for tuning are not among them; for damaged ones others stand in, as in training.
    """
    there, images = s.loader.samples, s.dataset.training_split(held=False)
    n = min(most, there)
    parts = np.array_split(np.arange(n) * there // n, -(-n * model.resolution**2 // PIXELS_AT_ONCE))
    return (torch.from_numpy(images.take(part)[0]) for part in parts)
