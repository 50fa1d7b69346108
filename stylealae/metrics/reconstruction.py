"""Distances between an image, or a style, and what the autoencoder makes of it.

Legend: N batch, C channels, R resolution, W width of w.
"""

from torch import Tensor

from stylealae.losses import ssim

__all__ = ["as_stored", "psnr", "reciprocity", "ssim"]


def as_stored(x: Tensor) -> Tensor:
    """Images in 8 bits, as numbers from 0 to 1.  [any] in [-1, 1] -> [same]"""
    return x.double().clamp(-1, 1).add(1).mul(127.5).round() / 255


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB; equal images give 100.  [N, C, R, R] in [0, 1] -> [N]"""
    error = (a - b).square().flatten(1).mean(1)
    return -10 * error.clamp(min=1e-10).log10()


def reciprocity(w: Tensor, w_again: Tensor) -> tuple[float, float]:
    """The squared error of a style that went through G and E, and its share of the variance of w.

    [n, W] twice; the first is the loss of Eq. 2; of the second, 0 is a perfect encoder, 1 one that
    gives the mean w for every image.
    """
    w, w_again = w.double(), w_again.double()
    error = (w - w_again).square().mean()
    variance = (w - w.mean(0)).square().mean()
    return float(error), float(error / variance)
