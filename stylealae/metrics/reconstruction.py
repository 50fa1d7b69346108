"""Distances between an image, or a style, and what the autoencoder makes of it.

Legend: N batch, C channels, R resolution, W width of w.
"""

import torch
import torch.nn.functional as fn
from torch import Tensor

__all__ = ["as_stored", "psnr", "reciprocity", "ssim"]

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
"""SSIM's Gaussian window and constants (Wang et al. 2004)."""


def as_stored(x: Tensor) -> Tensor:
    """Images in 8 bits, as numbers from 0 to 1.  [any] in [-1, 1] -> [same]"""
    return x.double().clamp(-1, 1).add(1).mul(127.5).round() / 255


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB; equal images give 100.  [N, C, R, R] in [0, 1] -> [N]"""
    error = (a - b).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-10).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity, the mean over the channels.  [N, C, R, R] in [0, 1] twice -> [N]

    The window lies wholly inside the image; on images smaller than it, it is the largest odd square
    that does.
    """
    side = min(WINDOW, a.shape[-1] - 1 + a.shape[-1] % 2)
    offsets = torch.arange(side, dtype=a.dtype, device=a.device) - side // 2
    line = (-offsets.square() / (2 * SIGMA**2)).exp()
    line = line / line.sum()  # the window is its outer product with itself

    def blurred(x: Tensor) -> Tensor:
        rows = fn.conv2d(x.flatten(0, 1)[:, None], line[None, None, None, :])
        return fn.conv2d(rows, line[None, None, :, None]).view(*x.shape[:2], -1)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + K1**2) / (mean_a**2 + mean_b**2 + K1**2)
    return (light * (2 * both + K2**2) / (var_a + var_b + K2**2)).mean((1, 2))


def reciprocity(w: Tensor, w_again: Tensor) -> tuple[float, float]:
    """The squared error of a style that went through G and E, and its share of the variance of w.

    [n, W] twice; the first is the loss of Eq. 2; of the second, 0 is a perfect encoder, 1 one that
    gives the mean w for every image.
    """
    w, w_again = w.double(), w_again.double()
    error = (w - w_again).square().mean()
    variance = (w - w.mean(0)).square().mean()
    return float(error), float(error / variance)
