"""FID and KID against torchmetrics on the same features, and against closed forms."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from stylealae.metrics.fid import frechet_distance, kernel_distance, moments

K = 24


def features(n: int, seed: int, shift: float = 0.0) -> Tensor:
    """Features with correlations, as float32.  -> [n, K]"""
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(K, K, generator=source) / K**0.5
    return (torch.randn(n, K, generator=source) @ mixing + shift).abs()


class AsGiven(nn.Module):
    """A feature network for torchmetrics: what it is given are the features."""

    num_features = K

    def forward(self, x: Tensor) -> Tensor:
        """What it is given.  [N, K] -> [N, K]"""
        return x


def test_fid_is_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance(feature=AsGiven())
    fid.set_dtype(torch.float64)
    real, fake = features(500, seed=0), features(300, seed=1, shift=0.3)
    fid.update(real, real=True)
    fid.update(fake, real=False)
    assert frechet_distance(moments(real), moments(fake)) == pytest.approx(
        float(fid.compute()), rel=1e-5
    )


def test_kid_and_its_deviation_are_torchmetrics() -> None:
    module = pytest.importorskip("torchmetrics.image.kid")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kid = module.KernelInceptionDistance(feature=AsGiven(), subsets=10, subset_size=100)
    real, fake = features(250, seed=0).double(), features(300, seed=1, shift=0.3).double()
    kid.update(real, real=True)
    kid.update(fake, real=False)
    torch.manual_seed(7)  # it draws its subsets from torch's own source
    mean, sd = kid.compute()
    ours = kernel_distance(real, fake, torch.Generator().manual_seed(7), subsets=10, subset=100)
    assert ours == pytest.approx((float(mean), float(sd)), rel=1e-5)


def test_fid_of_a_set_with_itself_is_nothing_also_with_fewer_samples_than_features() -> None:
    for n in (500, 10):
        m = moments(features(n, seed=0))
        assert abs(frechet_distance(m, m)) < 1e-10


def test_fid_of_gaussians_is_the_closed_form() -> None:
    """Diagonal covariances: |m - m'|^2 + sum (s - s')^2."""
    mean = torch.linspace(0, 1, K, dtype=torch.float64)
    wide, narrow = mean + 1.0, mean * 0.5 + 0.1
    eye = torch.eye(K, dtype=torch.float64) * ((2 * K - 1) / 2) ** 0.5  # variance 1 over 2K samples
    cube = torch.cat([eye, -eye])
    a, b = moments(cube * wide), moments(cube * narrow + mean)
    expected = mean.square().sum() + (wide - narrow).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-10)


def test_moments_of_parts_add_up() -> None:
    x = features(100, seed=3)
    torch.testing.assert_close(moments(x[:37]) + moments(x[37:]), moments(x))


@pytest.mark.parametrize(("n", "m"), [(60, 90), (1100, 700)])
def test_kid_is_the_mean_over_subsets_however_it_is_summed(n: int, m: int) -> None:
    """Of few samples the kernel is computed once for all subsets, of many for each of them."""
    real, fake = features(n, seed=0), features(m, seed=1, shift=0.1)
    source = torch.Generator().manual_seed(3)
    size = min(25, n // 2, m // 2)
    values = []
    for _ in range(12):
        x, y = (z[torch.randperm(len(z), generator=source)[:size]].double() for z in (real, fake))
        within = [((z @ z.T / K + 1) ** 3).fill_diagonal_(0).sum() for z in (x, y)]
        between = ((x @ y.T / K + 1) ** 3).mean()
        values.append(float(sum(within) / (size * (size - 1)) - 2 * between))
    wanted = torch.tensor(values, dtype=torch.float64)
    source = torch.Generator().manual_seed(3)
    found = kernel_distance(real, fake, source, subsets=12, subset=25)
    assert found == pytest.approx((float(wanted.mean()), float(wanted.std(correction=0))), rel=1e-9)


def test_kid_of_one_distribution_is_within_its_deviation_of_nothing() -> None:
    x, y = features(1200, seed=0).split(600)
    mean, sd = kernel_distance(x, y, torch.Generator().manual_seed(0))
    assert sd > 0
    assert abs(mean) < 3 * sd
