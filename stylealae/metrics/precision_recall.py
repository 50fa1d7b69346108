"""How much of what is generated is real, and how much of what is real is generated.

A sample stands for the ball around it that reaches its k-th neighbour of the same set.

Legend: n samples, m others, K features.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["density_coverage", "precision_recall", "radii"]

CHUNK = 1024


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019).  [n, K], [m, K]

    Precision: the share of generated samples inside a ball of the real ones.  Recall: the share of
    real samples inside a ball of the generated ones.
    """
    return _inside(fake, real, radii(real, k)), _inside(real, fake, radii(fake, k))


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020).  [n, K], [m, K]

    Density: in how many real balls a generated sample lies, over k; it may exceed 1.  Coverage: the
    share of real balls that hold a generated sample.
    """
    reach, within = radii(real, k), 0
    covered = torch.zeros_like(reach, dtype=torch.bool)
    for _, squared in _distances(fake, real):
        inside = squared < reach  # [chunk, n]
        within += int(inside.sum())
        covered |= inside.any(0)
    return within / (k * len(fake)), float(covered.double().mean())


def radii(x: Tensor, k: int) -> Tensor:
    """The squared distance of each sample to its k-th neighbour.  [n, K] -> [n]"""
    found = x.new_empty(len(x), dtype=torch.float64)
    for rows, squared in _distances(x, x):
        squared[torch.arange(len(squared)), torch.arange(len(x))[rows]] = torch.inf  # not itself
        found[rows] = squared.kthvalue(min(k, len(x) - 1), dim=1).values
    return found


def _inside(x: Tensor, centres: Tensor, reach: Tensor) -> float:
    """The share of x inside the balls around `centres`.  [m, K], [n, K], [n]"""
    hits = sum(int((squared <= reach).any(1).sum()) for _, squared in _distances(x, centres))
    return hits / len(x)


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances of some rows of x to all of y, in float64.  [m, K], [n, K] -> [chunk, n]

    Both are centred first, for a product of large numbers would swallow a small distance.
    """
    y = y.double()
    centre = y.mean(0)
    y = y - centre
    lengths = y.square().sum(1)
    for first in range(0, len(x), CHUNK):
        rows = slice(first, min(first + CHUNK, len(x)))
        part = x[rows].double() - centre
        squared = part.square().sum(1)[:, None] + lengths - 2 * part @ y.T
        yield rows, squared.clamp_(min=0)
