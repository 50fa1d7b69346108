"""Distances between two sets of features: Frechet's (FID) and a kernel's (KID).

Legend: n samples, K features.
"""

import torch
from torch import Tensor

__all__ = ["frechet_distance", "kernel_distance", "moments"]

SUBSETS, SUBSET = 100, 1000
"""KID's protocol: so many subsets of so many samples (StyleGAN2-ADA, and torchmetrics)."""


def moments(features: Tensor) -> Tensor:
    """Count, sums and products: (1, f)(1, f)^T summed over samples.  [n, K] -> [1 + K, 1 + K]

    float64; the moments of two sets together are the sum of theirs, so ranks add them up.
    """
    f = features.double()
    f = torch.cat([f.new_ones(len(f), 1), f], dim=1)
    return f.T @ f


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """FID of two sets by their moments (Heusel et al. 2017).  [1 + K, 1 + K] twice

    |m - m'|^2 + tr(S + S' - 2 (S S')^1/2), where the last trace is the nuclear norm of
    S^1/2 S'^1/2: its singular values are exact to rounding even where S is singular.
    """
    (mean_a, cov_a), (mean_b, cov_b) = _mean_and_covariance(a), _mean_and_covariance(b)
    overlap = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
    spread = cov_a.trace() + cov_b.trace() - 2 * overlap
    return float((mean_a - mean_b).square().sum() + spread)


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator,
    *,
    subsets: int = SUBSETS,
    subset: int = SUBSET,
) -> tuple[float, float]:
    """KID and its standard deviation over random subsets (Binkowski et al. 2018).  [n, K], [n', K]

    The unbiased squared maximum mean discrepancy under the kernel (x.y / K + 1)^3.  A subset is at
    most half of the smaller set, or the deviation would be none.
    """
    size, found = min(subset, len(real) // 2, len(fake) // 2), []
    if size < 2:
        return float("nan"), float("nan")
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=generator)[:size]].double()
        y = fake[torch.randperm(len(fake), generator=generator)[:size]].double()
        within = (_kernel(x, x), _kernel(y, y))
        pairs = sum(k.sum() - k.trace() for k in within) / (size * (size - 1))
        found.append(pairs - 2 * _kernel(x, y).mean())
    values = torch.stack([torch.as_tensor(v) for v in found])
    return float(values.mean()), float(values.std(correction=0))


def _mean_and_covariance(m: Tensor) -> tuple[Tensor, Tensor]:
    """[1 + K, 1 + K] -> [K], [K, K], the covariance over n - 1."""
    n, mean = m[0, 0], m[0, 1:] / m[0, 0]
    return mean, (m[1:, 1:] - n * torch.outer(mean, mean)) / (n - 1)


def _root(cov: Tensor) -> Tensor:
    """The symmetric square root of a covariance.  [K, K] -> [K, K]"""
    values, vectors = torch.linalg.eigh(cov)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    kernel: Tensor = (x @ y.T / x.shape[1] + 1.0) ** 3
    return kernel
