"""A better style for an image than E's: a few steps of descent from E(x), E and G untouched.

Legend: N images, C channels, R resolution, L layers (two a stage), W width of w.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.errors import ConfigError
from stylealae.latents import per_layer
from stylealae.networks import Networks
from stylealae.schedule import Growth

__all__ = ["Distance", "Refined", "error_at_sizes", "psnr", "refine"]

Distance = Callable[[Tensor, Tensor], Tensor]
"""How far images are apart, one number each.  [N, C, R, R] twice -> [N]"""


@dataclass(frozen=True, eq=False)
class Refined:
    """Styles before and after, and how well they reconstruct their images."""

    w: Tensor
    """[N, L, W]: the best style found for every image."""
    encoded: Tensor
    """[N, W]: E's, where the descent began."""
    before_db: Tensor
    """[N]: PSNR of G(encoded)."""
    after_db: Tensor
    """[N]: PSNR of G(w)."""


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB.  [N, C, R, R] twice in [-1, 1] (clipped) -> [N]"""
    error = (x.clamp(-1, 1) - y.clamp(-1, 1)).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp_min(1e-10))


def refine(
    n: Networks,
    x: Tensor,
    at: Growth,
    *,
    steps: int = 100,
    rate: float = 0.05,
    stay: float = 0.02,
    distance: Distance | None = None,
    report: Callable[[int], None] | None = None,
) -> Refined:
    """Styles whose pictures are closer to x than those of E(x).  [N, C, R, R] in [-1, 1]

    Every layer's style moves on its own (W+, Abdal et al. 2019), and what the picture is encoded to
    stays near E(x), so that the style remains one that G knows (Zhu et al. 2020).

    Args:
        n: the networks; nothing of them changes.
        x: images of the stage's resolution.
        at: which stage of the networks.
        steps: of Adam; each costs about three times a reconstruction.
        rate: first step length, in units of the styles' own size; it falls to 0 as a half cosine.
        stay: weight of the encoded picture's distance from E(x), in the same units, squared.
        distance: a perceptual distance to add to the squared error, LPIPS for example.
        report: called with the number of each finished step.
    """
    if steps < 0:
        raise ConfigError(f"steps is {steps}: 0 is E(x) itself, 100 a usual number")
    with torch.no_grad():
        start = n.E(x, at)  # [N, W]
        size = start.square().mean(1).sqrt().clamp_min(1e-8)  # [N]: images do not mix
    layers = per_layer(start, 2 * (at.stage + 1)).clone()  # [N, L, W]
    moved = torch.zeros_like(layers, requires_grad=True)
    adam = torch.optim.Adam([moved], lr=rate, betas=(0.9, 0.99))
    best_w, best = layers, torch.full((len(x),), math.inf, device=x.device)
    before = after = torch.zeros(len(x), device=x.device)
    for step in range(steps + 1):
        w = layers + size[:, None, None] * moved
        y: Tensor = n.G(w, at)
        loss = error_at_sizes(x, y)  # [N]
        if distance is not None:
            loss = loss + distance(x, y).to(loss)
        now = psnr(x, y.detach())
        better = loss.detach() < best
        best = torch.where(better, loss.detach(), best)
        best_w = torch.where(better[:, None, None], w.detach(), best_w)
        before, after = now if step == 0 else before, torch.where(better, now, after)
        if step == steps:
            break
        drift = (n.E(y, at) - start).square().mean(1) / size.square()  # [N]
        (moved.grad,) = torch.autograd.grad((loss + stay * drift).sum(), moved)
        adam.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        adam.step()
        if report is not None:
            report(step + 1)
    return Refined(best_w, start, before, after)


def error_at_sizes(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error, at full size and at each halving down to 4x4, averaged.  -> [N]"""
    errors = []
    while True:
        errors.append((x - y).square().flatten(1).mean(1))
        if x.shape[-1] <= 4:
            return torch.stack(errors).mean(0)
        x, y = fn.avg_pool2d(x, 2), fn.avg_pool2d(y, 2)
