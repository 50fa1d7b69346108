"""Perceptual path length: how far the image moves when its latent takes a small step.

Legend: N batch, Z and W widths.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["EPSILON", "Sampling", "Space", "between", "mean_within", "path_lengths", "slerp"]

Space = Literal["z", "w"]
Sampling = Literal["full", "end"]
"""A step anywhere on the way between two latents, or at its beginning."""
EPSILON = 1e-4
TRIMMED = 0.01
"""Share of the shortest and of the longest paths that the mean leaves out."""


def path_lengths(
    a: Tensor,
    b: Tensor,
    t: Tensor,
    point: Callable[[Tensor, Tensor, Tensor], Tensor],
    distance: Callable[[Tensor], Tensor],
    epsilon: float = EPSILON,
) -> Tensor:
    """distance^2 / epsilon^2 over a step from t to t + epsilon (StyleGAN, section 4.1).  -> [N]

    Args:
        a: ends of the paths [N, Z or W].
        b: their other ends.
        t: where on it the step begins [N], 0 to 1.
        point: the latent on the way from a to b at t, `slerp` or `torch.lerp`'s kind.
        distance: of the images of latents [2N, Z or W], the first N from the others; squared.  [N]
        epsilon: length of the step.
    """
    t = t[:, None].to(a)
    both = torch.cat([point(a, b, t), point(a, b, t + epsilon)])  # [2N, Z or W]
    lengths: Tensor = distance(both) / epsilon**2
    return lengths


def between(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The point at t of the straight line: the way through w.  [N, W] twice, [N, 1] -> [N, W]"""
    return torch.lerp(a, b, t)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The point at t of the great circle: the way through z.  [N, Z] twice, [N, 1] -> [N, Z]

    On the sphere that samples of the normal prior lie near, of radius sqrt(Z).
    """
    a, b = _unit(a), _unit(b)
    cosine = (a * b).sum(1, keepdim=True)
    angle = t * cosine.clamp(-1, 1).acos()
    across = _unit(b - cosine * a)
    radius: float = a.shape[1] ** 0.5
    return _unit(a * angle.cos() + across * angle.sin()) * radius


def mean_within(lengths: Tensor, trimmed: float = TRIMMED) -> float:
    """The mean without the outermost percents, as StyleGAN reports it.  [n] -> number"""
    if not len(lengths):
        return float("nan")
    low = lengths.quantile(trimmed, interpolation="lower")
    high = lengths.quantile(1 - trimmed, interpolation="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())


def _unit(x: Tensor) -> Tensor:
    unit: Tensor = x / x.norm(dim=1, keepdim=True)
    return unit
