"""Measures of codes against closed forms, brute force and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stylealae.metrics import codes
from stylealae.metrics.parzen import SIGMAS, log_likelihoods, parzen


def blobs(n: int, seed: int, apart: float = 3.0) -> tuple[Tensor, Tensor]:
    """Three classes in four dimensions."""
    source = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=source)
    return torch.randn(n, 4, generator=source) + apart * torch.eye(3, 4)[y], y


def test_errors_are_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score

    x, y = blobs(500, 0)
    assert codes.classification_error(x[:, :3], y) == pytest.approx(
        1 - accuracy_score(y, x[:, :3].argmax(1))
    )


def test_a_cluster_takes_the_label_of_its_surest_image() -> None:
    y = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.2, 0.7, 0.1]])
    labels = torch.tensor([2, 0, 1, 1])
    of_cluster = codes.cluster_labels(y, labels)
    assert of_cluster.tolist() == [2, 1, 1]
    found = codes.clustering_error(y, labels, of_cluster)
    assert found.error == 0.25  # the second image has another label than its cluster
    assert found.majority_error == 0.25
    assert found.used == 2


def test_the_majority_is_never_worse() -> None:
    x, labels = blobs(300, 1, apart=1.0)
    y = x.softmax(1)
    found = codes.clustering_error(y, labels, codes.cluster_labels(y, labels))
    assert found.majority_error <= found.error + 1e-12


def test_nearest_neighbours_and_planes_are_scikit_learns() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    (x, y), (x_test, y_test) = blobs(400, 2), blobs(200, 3)
    theirs = KNeighborsClassifier(1).fit(x, y).score(x_test, y_test)
    assert codes.nearest_neighbour_accuracy(x, y, x_test, y_test) == pytest.approx(theirs)
    assert codes.plane_accuracy(x, y, x_test, y_test) > 0.9
    assert (
        codes.plane_accuracy(
            x, y[torch.randperm(400, generator=torch.Generator().manual_seed(4))], x_test, y_test
        )
        < 0.6
    )


def test_mmd_is_the_sum_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "BANDWIDTHS", (0.5,))
    monkeypatch.setattr(codes, "ROWS", 16)  # several parts
    x, y = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(4)).double()
    y = y[:20] + 1.0
    width = 0.5 * float(torch.cdist(y[:16], y[:16]).median())

    def mean(a: Tensor, b: Tensor) -> float:
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if a is not b or i != j]
        gaps = [float((a[i] - b[j]).square().sum()) for i, j in pairs]
        return sum(math.exp(-gap / (2 * width**2)) for gap in gaps) / len(pairs)

    assert codes.mmd(x, y) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-6)


def test_mmd_is_near_nothing_for_one_distribution() -> None:
    x, y = torch.randn(2, 1000, 2, generator=torch.Generator().manual_seed(4))
    assert codes.mmd(x, y) == pytest.approx(0.0, abs=0.005)
    assert codes.mmd(x, 1.5 * y) > 0.01


def test_two_samples_of_one_distribution_are_not_told_apart() -> None:
    source = torch.Generator().manual_seed(5)
    x, y = torch.randn(2, 1500, 2, generator=source)
    assert codes.two_sample_accuracy(x, y) == pytest.approx(0.5, abs=0.05)
    assert codes.two_sample_accuracy(x, y + 2.0) > 0.8


@pytest.mark.parametrize("sigma", [0.2, 1.3])
def test_the_window_is_scikit_learns_kernel_density(sigma: float) -> None:
    from sklearn.neighbors import KernelDensity

    source = np.random.default_rng(6)
    samples, tests = source.random((70, 5)), source.random((1100, 5))
    wanted = KernelDensity(bandwidth=sigma).fit(samples).score_samples(tests)
    found = log_likelihoods(torch.tensor(samples), torch.tensor(tests), [0.7, sigma])[:, 1]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)


def test_the_windows_width_is_chosen_on_validation_images() -> None:
    source = torch.Generator().manual_seed(7)
    samples, validation, tests = (torch.randn(n, 3, generator=source) for n in (300, 200, 250))
    found = parzen(samples, validation, tests, SIGMAS)
    means = log_likelihoods(samples, validation, SIGMAS).mean(0)
    assert found.sigma == SIGMAS[int(means.argmax())]
    each = log_likelihoods(samples, tests, [found.sigma])[:, 0]
    assert found.nats == pytest.approx(float(each.mean()))
    assert found.error == pytest.approx(float(each.std()) / math.sqrt(250))
