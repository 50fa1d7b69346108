"""Adversarial, R1, reconstruction, divergence and distance terms, as pure functions.

Tensors in, one value per sample out; a comparison of whole batches gives one for all.

Legend: N batch, P numbers of an image, Z width of z, K classes.
"""

import math
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = [
    "RECONSTRUCTIONS",
    "absolute_error",
    "adversarial",
    "bernoulli",
    "divergence",
    "energy_distance",
    "gaussian_kl",
    "mean_distance",
    "mmd",
    "moments_kl",
    "r1_penalty",
    "squared",
    "squared_error",
    "ssim",
    "structural_error",
    "too_close",
]


WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
"""SSIM's Gaussian window and constants (Wang et al. 2004)."""
FEW_ROWS = 256
"""Of an image, up to which its means under the window are two products with a matrix.

On a CPU that takes a tenth of the time of two convolutions at 32x32 to 128x128, a sixth at 256x256.
"""


def adversarial(logits: Tensor) -> Tensor:
    """f(t) = softplus(t) of the paper: small where the logits are very negative.  [N] -> [N]

    The critic minimises f(D(fake)) + f(-D(real)), the generator f(-D(fake)).
    """
    return fn.softplus(logits)


def r1_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """Squared norm of d logits / d x (Mescheder et al. 2018).  [N], [N, ...] -> [N]"""
    (grad,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    squares: Tensor = _SquaredNorm.apply(grad.flatten(1))  # type: ignore[no-untyped-call]
    return squares


class _SquaredNorm(torch.autograd.Function):
    """[N, P] -> [N]; the gradient takes two passes over x, of torch's own rules six."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square().sum(1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        found: Tensor = x * (2 * g)[:, None]
        return found


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the W numbers of the squared difference, Eq. 2.  [N, W] twice -> [N]"""
    return (a - b).square().flatten(1).mean(1)


def absolute_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the numbers of an image of the absolute difference.  [N, ...] twice -> [N]"""
    return (a - b).abs().flatten(1).mean(1)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity, the mean over the channels.  [N, C, R, R] in [0, 1] twice -> [N]

    The window lies wholly inside the image; on images smaller than it, it is the largest odd square
    that does.
    """
    window = _window(a)
    mean_a, mean_b, of_aa, of_bb, of_ab = (
        _windowed(x, window) for x in (a, b, a * a, b * b, a * b)
    )
    var_a, var_b, both = of_aa - mean_a**2, of_bb - mean_b**2, of_ab - mean_a * mean_b
    light = (2 * mean_a * mean_b + K1**2) / (mean_a**2 + mean_b**2 + K1**2)
    return (light * (2 * both + K2**2) / (var_a + var_b + K2**2)).mean((1, 2, 3))


def _windowed(x: Tensor, window: Tensor) -> Tensor:
    """The mean under SSIM's window in each of its places.  [N, C, R, R], [P, R] -> [N, C, P, P]"""
    places, side = window.shape
    if side <= FEW_ROWS:
        return window @ x @ window.t()
    line = window[0, : side - places + 1]
    rows = fn.conv2d(x.reshape(-1, 1, side, side), line[None, None, None, :])
    return fn.conv2d(rows, line[None, None, :, None]).view(*x.shape[:2], places, places)


def _window(x: Tensor) -> Tensor:
    """Of each place of SSIM's window the weights of an image's rows.  [..., R, R] -> [P, R]

    The window is the outer product of them and those of the columns, which are the same.
    """
    rows = torch.arange(x.shape[-1], dtype=x.dtype, device=x.device)
    reach = min(WINDOW, len(rows) - 1 + len(rows) % 2) // 2
    away = rows - rows[reach : len(rows) - reach, None]
    weights = torch.where(away.abs() <= reach, (-away.square() / (2 * SIGMA**2)).exp(), 0.0)
    return weights / weights.sum(1, keepdim=True)


def structural_error(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004): 0 for equal images.  [N, C, R, R] in [-1, 1] twice -> [N]"""
    return 1.0 - ssim(a.add(1).div(2), b.add(1).div(2))


def squared(logits: Tensor, x: Tensor) -> Tensor:
    """Half the squared error of grey values, summed over the pixels.  [N, P] twice -> [N]"""
    return 0.5 * (logits.sigmoid() - x).square().sum(1)


def bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """Cross-entropy of grey values in [0, 1], summed over the pixels.  [N, P] twice -> [N]"""
    return fn.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)


RECONSTRUCTIONS = {"squared": squared, "bernoulli": bernoulli}
"""What an autoencoder may lose by, by the name that `loss.reconstruction` gives it."""


def gaussian_kl(mean: Tensor, log_var: Tensor, std: float = 1.0) -> Tensor:
    """KL(N(mean, var) || N(0, std^2)), summed over the code.  [N, Z] twice -> [N]"""
    log_ratio = log_var - 2.0 * math.log(std)
    return 0.5 * (log_ratio.exp() + (mean / std).square() - 1.0 - log_ratio).sum(1)


def moments_kl(z: Tensor) -> Tensor:
    """KL(N(m, s^2) || N(0, 1)) of a batch's own mean and variance, summed over the code.

    [N, Z], N at least 2 -> [] (Ulyanov et al. 2018, section 3.3)
    """
    mean, var = z.mean(0), z.var(0).add(1e-8)
    return 0.5 * (var + mean.square() - 1.0 - var.log()).sum()


KERNEL_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The s of `mmd`, which sums one inverse multiquadratic kernel of each width C = 2 Z s."""


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of codes x from samples y of a prior of variance 1.

    [N, Z], [M, Z], both at least 2 -> []; the kernel is the sum over s of C / (C + |a - b|^2) with
    C = 2 Z s (Tolstikhin et al. 2018, section 4).
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        square = a.square().sum(1)[:, None] + b.square().sum(1) - 2.0 * (a @ b.t())  # [N, M]
        found: Tensor = _Kernels.apply(square, 2.0 * a.shape[1])  # type: ignore[no-untyped-call]
        return found

    def within(a: Tensor) -> Tensor:
        return (kernel(a, a) - len(KERNEL_SCALES) * len(a)) / (len(a) * (len(a) - 1))

    centre = y.mean(0)  # the kernel does not see it, and squares keep their digits
    x, y = x - centre, y - centre
    return within(x) + within(y) - 2.0 * kernel(x, y) / (len(x) * len(y))


class _Kernels(torch.autograd.Function):
    """The sum over pairs and scales s of C / (C + square), C = width s.  [N, M] -> []

    The slope is found on the way, in the same passes: by torch's own rules it takes three times
    as many.
    """

    @staticmethod
    def forward(ctx: Any, square: Tensor, width: float) -> Tensor:
        total, slope, one = square.new_zeros(()), torch.zeros_like(square), square.new_ones(())
        for scale in KERNEL_SCALES:
            c = width * scale
            near = torch.add(one, square, alpha=1.0 / c).reciprocal_()
            total += near.sum()
            if ctx.needs_input_grad[0]:
                slope.addcmul_(near, near, value=-1.0 / c)
        ctx.save_for_backward(slope)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * g, None


def mean_distance(x: Tensor) -> Tensor:
    """Mean distance of two samples.  [N, Z], N at least 2 -> []"""
    return _distances(x, x).sum() / (len(x) * (len(x) - 1))


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased energy distance of two distributions, 0 for equal ones (Szekely & Rizzo 2013).

    [N, Z], [M, Z], both at least 2 -> []; 2 E|x - y| - E|x - x'| - E|y - y'|
    """
    return 2.0 * _distances(x, y).mean() - mean_distance(x) - mean_distance(y)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """[N, Z], [M, Z] -> [N, M], with a gradient of 0 where two samples are the same."""
    return (x[:, None] - y).square().sum(2).add(1e-12).sqrt()


def too_close(heads: Tensor, apart: float) -> Tensor:
    """How far every pair of heads is below the wanted distance.  [K, Z] -> [pairs]"""
    first, other = torch.triu_indices(len(heads), len(heads), 1)
    return fn.relu(apart - (heads[first] - heads[other]).norm(dim=1))


def divergence(p: Tensor, logits: Tensor) -> Tensor:
    """KL(p || softmax(logits)); p carries no gradient.  [N, K] twice -> [N]"""
    entropy: Tensor = torch.special.xlogy(p, p).sum(1)
    return entropy - (p * logits.log_softmax(1)).sum(1)
