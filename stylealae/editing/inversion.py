"""The way back through F.  Legend: N batch, P samples of the pool, Z and W widths."""

import torch
from torch import Tensor, nn

from stylealae.ops.layers import pixel_norm
from stylealae.priors import normal, rng

__all__ = ["unmapped"]

LR = 0.05
POOL = 2_048
"""Samples of the prior, the same for every style, one of which a descent begins with."""


def unmapped(F: nn.Module, w: Tensor, z_width: int, steps: int) -> Tensor:
    """A z that F takes near to w, by gradient descent.  [N, W] -> [N, Z] of unit mean square

    It is a function of w alone: a descent remembers where it began, so that is not drawn by row.
    """
    z = _nearest(F, w, z_width).requires_grad_()
    descent = torch.optim.Adam([z], lr=LR)
    for i in range(steps):
        descent.param_groups[0]["lr"] = LR * (1.0 - i / steps)
        (z.grad,) = torch.autograd.grad((F(z) - w).square().mean(1).sum(), z)
        descent.step()
    return pixel_norm(z.detach())


@torch.no_grad()
def _nearest(F: nn.Module, w: Tensor, z_width: int) -> Tensor:
    """The sample of the pool that F takes nearest to each style.  [N, W] -> [N, Z]"""
    pool = normal(POOL, z_width, rng(0, "unmap", 0)).to(w)
    mapped = F(pool)  # [P, W]
    exact = "donot_use_mm_for_euclid_dist"  # by products, near ties would depend on the batch
    chosen = [
        torch.cdist(part, mapped, compute_mode=exact).argmin(1) for part in torch.split(w, POOL)
    ]
    return pool[torch.cat(chosen)]
