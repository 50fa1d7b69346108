"""Perceptual distance: how different two images look (LPIPS, Zhang et al. 2018).

Legend: N batch, C channels, R resolution.
"""

from collections.abc import Callable

from torch import Tensor

from stylealae.metrics.features import lpips_size

__all__ = ["distance"]


def distance(a: Tensor, b: Tensor, perceptual: Callable[[Tensor], Tensor]) -> Tensor:
    """Squared distance in an extractor's perceptual space.  [N, C, R, R] in [-1, 1] twice -> [N]"""
    difference = perceptual(lpips_size(a)) - perceptual(lpips_size(b))
    return difference.double().square().sum(1)
