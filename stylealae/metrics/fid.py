"""Distances between two sets of features: Frechet's (FID) and a kernel's (KID).

Legend: n samples, K features.
"""

import torch
from torch import Tensor

__all__ = ["frechet_distance", "kernel_distance", "moments"]

SUBSETS, SUBSET = 100, 1000
"""KID's protocol: so many subsets of so many samples (StyleGAN2-ADA, and torchmetrics)."""
BLOCK = 512
"""Rows of a kernel that are computed together."""


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
    covariances = cov_a.trace() + cov_b.trace() - 2 * overlap
    return float((mean_a - mean_b).square().sum() + covariances)


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
    size = min(subset, len(real) // 2, len(fake) // 2)
    if size < 2:
        return float("nan"), float("nan")
    drawn = [torch.randperm(len(x), generator=generator)[:size]
             for _ in range(subsets) for x in (real, fake)]  # fmt: skip
    in_real, in_fake = torch.stack(drawn[::2]), torch.stack(drawn[1::2])  # [S, size] each
    few = len(real) ** 2 + len(fake) ** 2 + len(real) * len(fake) < 3 * subsets * size**2
    sums = _sums_of_all if few else _sums_of_each
    within_real = sums(real, real, in_real, in_real, pairs=True)
    within_fake = sums(fake, fake, in_fake, in_fake, pairs=True)
    between = sums(real, fake, in_real, in_fake)
    values = (within_real + within_fake) / (size * (size - 1)) - 2 * between / size**2
    return float(values.mean()), float(values.std(correction=0))


def _sums_of_each(
    x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor, *, pairs: bool = False
) -> Tensor:
    """Sum of the kernel over each pair of subsets, of `pairs` without its diagonal.

    [n, K], [m, K], subsets by their rows [S, size] twice -> [S]
    """
    found = []
    for rows, columns in zip(in_x, in_y, strict=True):
        k = _kernel(x[rows].double(), y[columns].double())
        found.append(k.sum() - k.trace() if pairs else k.sum())
    return torch.stack(found)


def _sums_of_all(
    x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor, *, pairs: bool = False
) -> Tensor:
    """The same from the kernel of all samples, computed once, by blocks of its rows.

    Subsets that overlap share most of the work; 1_A^T k 1_B is the sum over A and B.
    """
    a, b = _indicators(in_x, x), _indicators(in_y, y)  # [n, S], [m, S]
    y = y.double()
    total = y.new_zeros(len(in_x))
    for rows in torch.split(torch.arange(len(x), device=x.device), BLOCK):
        k = _kernel(x[rows].double(), y)  # [BLOCK, m]
        if pairs:
            k[torch.arange(len(rows), device=x.device), rows] = 0.0
        total += (a[rows] * (k @ b)).sum(0)
    return total


def _indicators(subsets: Tensor, x: Tensor) -> Tensor:
    """1 where a sample is in a subset.  [S, size], [n, K] -> [n, S]"""
    found = torch.zeros(len(x), len(subsets), dtype=torch.float64, device=x.device)
    return found.scatter_(0, subsets.T.to(x.device), 1.0)


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
