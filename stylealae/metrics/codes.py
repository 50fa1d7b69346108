"""What codes are good for: naming images, sorting them into clusters, and filling a prior.

Legend: n and m samples, W width of a code, K classes or clusters.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Clusters",
    "classification_error",
    "cluster_labels",
    "clustering_error",
    "mmd",
    "nearest_neighbour_accuracy",
    "plane_accuracy",
    "two_sample_accuracy",
]

BANDWIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Of the Gaussian kernels, as shares of the median distance within the second set."""
PLANE_TOLERANCE, PLANE_ITERATIONS = 0.01, 100
"""Of the fit of a linear SVM."""
ROWS = 2048
"""Samples whose distances to all others are held at once."""


def classification_error(y: Tensor, labels: Tensor) -> float:
    """Share of images whose likeliest class is not theirs.  [n, K], [n] -> 0 to 1"""
    return float((y.argmax(1) != labels).double().mean())


def cluster_labels(y: Tensor, labels: Tensor) -> Tensor:
    """A label for each cluster: that of the image which belongs to it most surely.  -> [K]

    [n, K], [n] of images that are kept for this (Makhzani et al. 2015, section 6).
    """
    return labels[y.argmax(0)]


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """How well clusters follow classes."""

    error: float
    """Share of images whose cluster has another label than they."""
    majority_error: float
    """The same where each cluster has the label of most of these very images."""
    used: int
    """Clusters that hold at least one in a thousand images."""


def clustering_error(y: Tensor, labels: Tensor, of_cluster: Tensor) -> Clusters:
    """[n, K], [n] and a label for each cluster [K]"""
    cluster = y.argmax(1)
    count = torch.zeros(y.shape[1], int(labels.max()) + 1, dtype=torch.double)
    count.index_put_((cluster, labels), torch.ones(len(y), dtype=torch.double), accumulate=True)
    return Clusters(
        error=float((of_cluster[cluster] != labels).double().mean()),
        majority_error=float(1.0 - count.max(1).values.sum() / len(y)),
        used=int((count.sum(1) * 1000 >= len(y)).sum()),
    )


def nearest_neighbour_accuracy(
    codes: Tensor, labels: Tensor, codes_of_tests: Tensor, labels_of_tests: Tensor
) -> float:
    """Share of tests whose nearest neighbour has their label.  [n, W], [n], [m, W], [m]"""
    right = [
        labels[torch.cdist(part, codes).argmin(1)] == of_part
        for part, of_part in zip(
            torch.split(codes_of_tests, ROWS), torch.split(labels_of_tests, ROWS), strict=True
        )
    ]
    return float(torch.cat(right).double().mean())


def plane_accuracy(
    codes: Tensor, labels: Tensor, codes_of_tests: Tensor, labels_of_tests: Tensor
) -> float:
    """Share of tests that a linear SVM names.  [n, W], [n], [m, W], [m]

    One plane a class against the rest, on codes of mean 0 and variance 1.  Pixels that are hardly
    ever lit keep the fit from ending, and what the last iterations bring is not accuracy.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    plane = LinearSVC(dual="auto", tol=PLANE_TOLERANCE, max_iter=PLANE_ITERATIONS)
    svm = make_pipeline(StandardScaler(), plane)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        svm.fit(codes.numpy(), labels.numpy())
    return float(svm.score(codes_of_tests.numpy(), labels_of_tests.numpy()))


def mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012); near 0 for one distribution.

    [n, W], [m, W]; the mean of Gaussian kernels of several widths, so that gaps of any size count.
    """
    widths = torch.cdist(y[:ROWS], y[:ROWS]).median().double() * torch.tensor(BANDWIDTHS)
    total = 0.0
    for a, b, sign in ((x, x, 1.0), (y, y, 1.0), (x, y, -2.0)):
        pairs = len(a) * (len(a) - 1) if a is b else len(a) * len(b)
        sums = sum(_kernels(part, b, widths) for part in torch.split(a, ROWS))
        total += sign * (sums - (len(a) if a is b else 0)) / pairs
    return total


def _kernels(x: Tensor, y: Tensor, widths: Tensor) -> float:
    """Sum over all pairs of the mean kernel.  [n, W], [m, W]"""
    squares = torch.cdist(x, y).double().square()
    sums = [torch.exp(-squares / (2.0 * width**2)).sum() for width in widths]
    return float(torch.stack(sums).mean())


def two_sample_accuracy(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """Held-out accuracy of a classifier trained to separate x from y; 0.5 for one distribution.

    [n, W] twice (Lopez-Paz and Oquab 2017): two hidden layers of 100, half of each set to learn.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    n = min(len(x), len(y)) // 2
    learnt, held = (torch.cat((x[a:b], y[a:b])).numpy() for a, b in ((0, n), (n, 2 * n)))
    which: NDArray[np.intp] = np.repeat([0, 1], n)
    scaler = StandardScaler().fit(learnt)
    judge = MLPClassifier((100, 100), max_iter=60, early_stopping=True, random_state=seed)
    judge.fit(scaler.transform(learnt), which)
    return float(judge.score(scaler.transform(held), which))
