"""Priors against closed forms: where samples lie, how dense they are, and what labels choose."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from stylealae.priors import (
    PRIORS,
    Gaussian,
    Mixture,
    Prior,
    SwissRoll,
    Uniform,
    categorical,
    rng,
)

if TYPE_CHECKING:
    from torch.distributions import Distribution

N = 20_000


def gaussian(scale: float) -> "Distribution":
    """Independent normal distributions; the import loads sympy."""
    from torch import distributions

    return distributions.Independent(distributions.Normal(torch.zeros(2), scale), 1)


def mixture(scale: float) -> "Distribution":
    """The petals as torch has them."""
    from torch import distributions

    angle = torch.arange(10) * (2 * math.pi / 10)
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), 1).view(10, 2, 2)
    shape = turn @ torch.diag(torch.tensor([0.5, 0.1]) ** 2) @ turn.mT
    middle = 1.4 * torch.stack((angle.cos(), angle.sin()), 1)
    petals = distributions.MultivariateNormal(scale * middle, scale**2 * shape)
    return distributions.MixtureSameFamily(distributions.Categorical(torch.ones(10)), petals)


@pytest.mark.parametrize("name", PRIORS)
def test_what_is_drawn_is_keyed_and_labels_do_not_move_it(name: str) -> None:
    prior = PRIORS[name](2, 1.5)
    one, same, other = (prior.sample(50, rng(0, "z", seen)) for seen in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    labels = torch.full((50,), -1)
    labels[:10] = 3
    assert torch.equal(prior.sample(50, rng(0, "z", 1), labels)[10:], one[10:])


def test_moments_of_the_gaussian_and_the_uniform() -> None:
    z = Gaussian(3, 5.0).sample(N, rng(0, "z", 0))
    torch.testing.assert_close(z.std(0), torch.full((3,), 5.0), rtol=0.03, atol=0)
    z = Uniform(3, 2.0).sample(N, rng(0, "z", 0))
    assert float(z.abs().max()) <= 2.0
    torch.testing.assert_close(z.var(0), torch.full((3,), 4.0 / 3.0), rtol=0.03, atol=0)


@pytest.mark.parametrize(
    ("prior", "theirs"),
    [
        (Gaussian(2, 1.7), gaussian),
        (Mixture(2, 1.0), mixture),
        (Mixture(2, 2.5), mixture),
    ],
)
def test_densities_are_torchs(prior: Prior, theirs: Callable[[float], "Distribution"]) -> None:
    z = prior.sample(200, rng(0, "z", 0))
    torch.testing.assert_close(
        prior.log_prob(z), theirs(prior.scale).log_prob(z), rtol=1e-4, atol=1e-4
    )


def test_the_density_of_the_uniform() -> None:
    inside = Uniform(2, 3.0).log_prob(torch.tensor([[0.0, 2.9], [0.0, 3.1]]))
    assert float(inside[0]) == pytest.approx(-2 * math.log(6.0))
    assert float(inside[1]) == -math.inf


def test_samples_of_the_mixture_have_its_density() -> None:
    z = Mixture(2).sample(N, rng(0, "z", 0))
    theirs = mixture(1.0).sample((N,))
    assert float(Mixture(2).log_prob(z).mean()) == pytest.approx(
        float(mixture(1.0).log_prob(theirs).mean()), abs=0.03
    )


@pytest.mark.parametrize("label", [0, 4, 9])
def test_a_label_chooses_its_part(label: int) -> None:
    labels = torch.full((4000,), label)
    z = Mixture(2).sample(4000, rng(0, "z", 0), labels)
    angle = 2 * math.pi * label / 10
    middle = 1.4 * torch.tensor([math.cos(angle), math.sin(angle)])
    torch.testing.assert_close(z.mean(0), middle, rtol=0, atol=0.03)
    z = SwissRoll(2).sample(4000, rng(0, "z", 0), labels)
    inner, outer = (2.2 * math.sqrt((label + i) / 10) for i in (0, 1))
    radius = z.norm(dim=1)
    assert inner - 0.2 < float(radius.min()) <= float(radius.max()) < outer + 0.2


def test_kl_of_gaussians_is_torchs_and_the_estimate_agrees() -> None:
    from torch import distributions

    mean, log_var = torch.tensor([[0.5, -1.0]]), torch.tensor([[-0.7, 0.4]])
    q = distributions.Normal(mean, (0.5 * log_var).exp())
    wanted = distributions.kl_divergence(q, distributions.Normal(0.0, 2.0)).sum(1)
    prior, eps = Gaussian(2, 2.0), torch.randn(N, 2, generator=rng(0, "eps", 0))
    torch.testing.assert_close(prior.kl(mean, log_var, eps[:1]), wanted)
    many = Prior.kl(prior, mean.expand(N, 2), log_var.expand(N, 2), eps)
    assert float(many.mean()) == pytest.approx(float(wanted), abs=0.03)


@pytest.mark.parametrize("shares", [(2.0, 1.0, 1.0), ()])
def test_classes_come_as_often_as_their_shares_say(shares: tuple[float, ...]) -> None:
    y = categorical(N, 3, shares, rng(0, "y", 0))
    wanted = torch.tensor(shares or (1.0, 1.0, 1.0))
    torch.testing.assert_close(y.bincount() / N, wanted / wanted.sum(), atol=0.01, rtol=0)
