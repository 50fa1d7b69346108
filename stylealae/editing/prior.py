"""F fitted to images after training: samples are then drawn where G has learned to draw.

What an autoencoder's decoder draws from codes of images is better than what it draws from a prior
that they do not quite follow; hence the prior is fitted to them afterwards (ex-post density
estimation, Ghosh et al. 2020, arXiv 1903.12436).  Here the prior is F: a generative moment matching
network in the space of styles (Li et al. 2015, arXiv 1502.02761, section 4).

Legend: N styles of images, W width of w.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylealae import losses
from stylealae.config import LEAST_STYLES
from stylealae.errors import ConfigError
from stylealae.networks.mapping import Mapping
from stylealae.priors import normal, rng

__all__ = ["FittedPrior", "fit_prior"]

BATCH = 256
RATE = 0.25
"""Of Adam, at first; it falls to nothing as half a cosine."""
BETAS = (0.0, 0.99)
JUDGED = 1000
"""Samples by which the distance is told before and after."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedPrior:
    """What was found."""

    F: Mapping
    """A copy of the mapping, moved."""
    before: float
    """Squared MMD of F's styles from the images', of which half were not fitted; 0 if equal."""
    after: float


def fit_prior(
    F: Mapping,
    w: Tensor,
    z_width: int,
    steps: int,
    *,
    seed: int = 0,
    report: Callable[[int], None] | None = None,
) -> FittedPrior:
    """Moves a copy of F until its styles are distributed as w = E(x) of images.

    Args:
        F: the mapping.
        w: [N, W], of at least 16 images; every second is kept apart to judge by.
        z_width: numbers in z.
        steps: Adam's, of 256 styles each.
        seed: of the draws.
        report: called after each step with the number of those done.

    Raises:
        ConfigError: there are too few images, or all have the same style.
    """
    if len(w) < LEAST_STYLES:
        raise ConfigError(
            f"a prior is fitted to at least {LEAST_STYLES} images, and there are {len(w)}"
        )
    if not w.var(0).any():
        raise ConfigError(f"a prior is fitted to images that differ: all {len(w)} have one style")
    fitted, held_out, width = w[::2], w[1::2], w.var(0).mean().sqrt()
    source, judge = (rng(seed, f"prior/{use}", 0) for use in ("fit", "judge"))
    shown = normal(JUDGED, z_width, judge).to(w.device)

    def apart(found: Tensor, wanted: Tensor) -> Tensor:
        return losses.mmd(found / width, wanted / width)

    @torch.no_grad()
    def judged(f: Mapping) -> float:
        return float(apart(f(shown), held_out[:JUDGED]))

    moved = copy.deepcopy(F).requires_grad_(True)
    adam = torch.optim.Adam(moved.parameters(), RATE, betas=BETAS)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(steps):
        z = normal(BATCH, z_width, source).to(w.device)
        rows = torch.randint(len(fitted), (min(BATCH, len(fitted)),), generator=source)
        adam.zero_grad()
        torch.autograd.backward(apart(moved(z), fitted[rows.to(w.device)]))
        adam.step()
        falling.step()
        if report:
            report(step + 1)
    moved.requires_grad_(False)
    return FittedPrior(F=moved, before=judged(F), after=judged(moved))
