"""The way back through F.  Legend: N batch, Z and W widths."""

import torch
from torch import Tensor, nn

from stylealae.ops.layers import pixel_norm
from stylealae.priors import normal, rng

__all__ = ["unmapped"]

LR = 0.05


def unmapped(F: nn.Module, w: Tensor, z_width: int, steps: int) -> Tensor:
    """A z that F takes near to w, by gradient descent.  [N, W] -> [N, Z] of unit mean square"""
    z = normal(len(w), z_width, rng(0, "unmap", 0)).to(w).requires_grad_()
    descent = torch.optim.Adam([z], lr=LR)
    for i in range(steps):
        descent.param_groups[0]["lr"] = LR * (1.0 - i / steps)
        (z.grad,) = torch.autograd.grad((F(z) - w).square().mean(1).sum(), z)
        descent.step()
    return pixel_norm(z.detach())
