"""What the families of MLPs have in common: the forms of q(z|x), and images as rows."""

from typing import Any

import pytest
import torch

from stylealae.families.common.config import CodeModelConfig
from stylealae.families.common.networks import CentralCrop, Encoder
from stylealae.priors import rng


def encoder(posterior: str, **more: Any) -> Encoder:
    torch.manual_seed(0)
    return Encoder(CodeModelConfig(posterior=posterior, hidden=16, z_width=3, **more))  # type: ignore[arg-type]


def test_posteriors_without_noise_are_functions_of_x() -> None:
    rows = torch.rand(5, 784)
    for posterior in ("deterministic", "fixed", "gaussian", "universal"):
        e = encoder(posterior)
        assert torch.equal(e(rows).z, e(rows).z)


def test_the_gaussian_posterior_is_reparameterised() -> None:
    e, x = encoder("gaussian"), torch.rand(1, 784)
    mean, log_var = e.moments(x)
    draws = e(x.expand(20_000, 784), rng(0, "eps", 0)).z
    torch.testing.assert_close(draws.mean(0), mean[0], rtol=0, atol=0.01)
    torch.testing.assert_close(draws.var(0), log_var.exp()[0], rtol=0.05, atol=0)
    (slope,) = torch.autograd.grad(draws.sum(), e.posterior.log_var.bias)  # type: ignore[union-attr]
    assert bool(slope.isfinite().all())


def test_the_fixed_posterior_is_as_wide_everywhere() -> None:
    e = encoder("fixed", posterior_std=0.3)
    x = torch.rand(1, 784)
    draws = e(x.expand(20_000, 784), rng(0, "eps", 0)).z - e(x).z
    torch.testing.assert_close(draws.std(0), torch.full((3,), 0.3), rtol=0.05, atol=0)


def test_the_universal_posterior_hears_its_noise() -> None:
    e, x = encoder("universal"), torch.rand(1, 784).expand(64, 784)
    assert bool((e(x, rng(0, "eta", 0)).z.std(0) > 0.01).all())
    assert torch.equal(e(x, rng(0, "eta", 0)).z, e(x, rng(0, "eta", 0)).z)


def test_the_crop_takes_the_middle_and_gives_it_back() -> None:
    crop = CentralCrop(CodeModelConfig())
    x = torch.full((2, 1, 32, 32), -1.0)
    x[:, :, 2:30, 2:30] = torch.rand(2, 1, 28, 28)
    assert torch.equal(crop.images(crop.rows(x)), x)


@pytest.mark.parametrize("more", [{}, {"batch_norm": True}, {"layers": "convolutional"}])
@pytest.mark.parametrize("posterior", ["deterministic", "universal"])
def test_the_slope_is_the_gradient_with_respect_to_the_rows(
    posterior: str, more: dict[str, Any]
) -> None:
    e, rows = encoder(posterior, start_channels=4, **more), torch.rand(6, 784)
    shown = rows.clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(e(shown, rng(0, "eta", 0)).z.square().sum(), shown)
    code, slope = e.with_slope(rows.clone(), rng(0, "eta", 0))
    found = slope(code.z.square().sum())
    assert torch.equal(found, wanted)
    assert not found.requires_grad  # nothing is trained by way of it


def test_an_encoder_that_is_not_trained_has_a_slope_too() -> None:
    e, rows = encoder("deterministic"), torch.rand(6, 784)
    trained, slope = e.with_slope(rows.clone(), None)
    wanted = slope(trained.z.sum())
    code, slope = e.requires_grad_(False).with_slope(rows.clone(), None)
    assert torch.equal(slope(code.z.sum()), wanted)
