"""Reading parameters off images: scikit-learn's kernel ridge regression, numpy's correlation."""

import numpy as np
import pytest
import torch

from stylealae.metrics.reading import RIDGE, SHARPNESS, Reader, correlations


def test_it_is_kernel_ridge_regression() -> None:
    from sklearn.kernel_ridge import KernelRidge

    source = torch.Generator().manual_seed(0)
    x, more = torch.randn(60, 12, generator=source), torch.randn(9, 12, generator=source)
    known = torch.stack([x[:, 0].sin(), 5 + 3 * x[:, 1] * x[:, 2]], dim=1)
    apart = torch.cdist(x, x).square().mean()
    gamma = float(SHARPNESS / apart)
    theirs = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=gamma)
    mean, spread = known.mean(0), known.std(0)
    theirs.fit(x.double().numpy(), ((known - mean) / spread).double().numpy())
    wanted = theirs.predict(more.double().numpy()) * spread.numpy() + mean.numpy()
    assert np.allclose(Reader(x, known)(more).numpy(), wanted, atol=1e-3)


def test_correlations_are_numpys_and_0_of_what_does_not_vary() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 20, 3))
    b[:, 2] = 1.0
    found = correlations(torch.from_numpy(a), torch.from_numpy(b))
    for k in range(2):
        assert float(found[k]) == pytest.approx(np.corrcoef(a[:, k], b[:, k])[0, 1])
    assert float(found[2]) == 0
