"""The terms of Algorithm 1 as pure functions: tensors in, one value per sample out."""

import torch
import torch.nn.functional as fn
from torch import Tensor

__all__ = ["adversarial", "r1_penalty", "squared_error"]


def adversarial(logits: Tensor) -> Tensor:
    """f(t) = softplus(t) of the paper: small where the logits are very negative.  [N] -> [N]

    The critic minimises f(D(fake)) + f(-D(real)), the generator f(-D(fake)).
    """
    return fn.softplus(logits)


def r1_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """Squared norm of d logits / d x (Mescheder et al. 2018).  [N], [N, ...] -> [N]"""
    (grad,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return grad.flatten(1).square().sum(1)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the W numbers of the squared difference, Eq. 2.  [N, W] twice -> [N]"""
    return (a - b).square().flatten(1).mean(1)
