"""A reader of known parameters off images: kernel ridge regression on pixels, in closed form.

Legend: n images to learn from, N images to read, P numbers of an image, K parameters.
"""

import torch
from torch import Tensor

__all__ = ["Reader", "correlations"]

SHARPNESS = 0.2
"""Of the Gaussian kernel, over the mean squared distance of two images."""
RIDGE = 1e-3


class Reader:
    """Reads K parameters off images, as it has learnt from n of which they are known."""

    def __init__(self, x: Tensor, known: Tensor) -> None:
        """[n, P] float32, [n, K]; nothing is drawn: the same images give the same reader."""
        self.middle = x.mean(0)
        self.x = x - self.middle
        apart = self._squared_distances(self.x)
        self.sharpness = SHARPNESS / apart.mean()
        self.mean, self.std = known.double().mean(0), known.double().std(0).clamp_min(1e-12)
        kernel = torch.exp(-self.sharpness * apart)
        kernel.diagonal().add_(RIDGE)
        wanted = (known.double() - self.mean) / self.std
        self.weights = torch.cholesky_solve(wanted, torch.linalg.cholesky(kernel))  # [n, K]

    def __call__(self, x: Tensor) -> Tensor:
        """[N, P] -> [N, K] float64"""
        kernel = torch.exp(-self.sharpness * self._squared_distances(x - self.middle))
        return kernel @ self.weights * self.std + self.mean

    def _squared_distances(self, x: Tensor) -> Tensor:
        """[N, P] -> [N, n] float64"""
        squares = x.double().square().sum(1)[:, None] + self.x.double().square().sum(1)
        return (squares - 2 * (x @ self.x.T).double()).clamp_min(0)


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Of each column with the other's; 0 where one does not vary.  [n, K] twice -> [K]"""
    a, b = a.double() - a.double().mean(0), b.double() - b.double().mean(0)
    lengths: Tensor = a.norm(dim=0) * b.norm(dim=0)
    return (a * b).sum(0) / lengths.clamp_min(1e-12)
