"""The log-likelihood of images under a Parzen window around samples (Breuleux et al. 2011).

An old measure that grows with the number of samples and means little for large images; it is here
because the papers of its time compare by it.

Legend: n tests, m samples, P numbers of an image in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Parzen", "log_likelihoods", "parzen"]

ROWS = 512
"""Tests whose distances to all samples are held at once."""
CHOSEN_ON = 1000
"""Validation images that the width is chosen on."""
SIGMAS = tuple(0.1 * 1.06**k for k in range(-8, 41))
"""Widths of the window that are tried, 0.06 to 1.03."""


@dataclass(frozen=True, kw_only=True)
class Parzen:
    """What was found, in nats an image."""

    nats: float
    """Mean log-likelihood of the tests."""
    error: float
    """Standard error of that mean."""
    sigma: float
    """The width that suits the validation images best."""
    validation: float
    """Their mean log-likelihood at that width."""


def parzen(
    samples: Tensor, validation: Tensor, tests: Tensor, sigmas: Sequence[float] = SIGMAS
) -> Parzen:
    """[m, P], [n', P], [n, P]; the window's width is chosen on some of the validation images."""
    means = log_likelihoods(samples, validation[:CHOSEN_ON], sigmas).mean(0)
    best = int(means.argmax())
    found = log_likelihoods(samples, tests, [sigmas[best]])[:, 0]
    return Parzen(
        nats=float(found.mean()),
        error=float(found.std() / math.sqrt(len(found))),
        sigma=sigmas[best],
        validation=float(means[best]),
    )


def log_likelihoods(samples: Tensor, tests: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Log density of every test under Gaussians at the samples, for every width.

    [m, P], [n, P] -> [n, widths], float64
    """
    width = torch.tensor(sigmas, dtype=torch.double)
    constant = math.log(len(samples)) + samples.shape[1] * (width * math.sqrt(2.0 * math.pi)).log()
    found = []
    for part in torch.split(tests, ROWS):
        squares = torch.cdist(part, samples).double().square()  # [ROWS, m]
        found.append(
            torch.stack([(-squares / (2.0 * s * s)).logsumexp(1) for s in sigmas], 1) - constant
        )
    return torch.cat(found)
