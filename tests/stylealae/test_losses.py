"""Losses against finite differences and closed forms."""

import math

import torch
from scipy.stats import energy_distance

from stylealae import losses
from stylealae.config import ModelConfig
from stylealae.networks import build
from stylealae.schedule import Growth

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=1
)


def test_r1_is_the_squared_norm_that_finite_differences_give():
    torch.manual_seed(0)
    nets, at = build(SMALL).double(), Growth(stage=1)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    penalty = losses.r1_penalty(nets.D(nets.E(x, at)), x)

    step, squares = 1e-6, torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for i in range(x[0].numel()):
            nudge = torch.zeros(x[0].numel(), dtype=torch.float64)
            nudge[i] = step
            nudge = nudge.view_as(x[0])
            up, down = nets.D(nets.E(x + nudge, at)), nets.D(nets.E(x - nudge, at))
            squares += ((up - down) / (2 * step)).square()
    torch.testing.assert_close(penalty.detach(), squares, rtol=1e-5, atol=0)


def test_r1_of_a_linear_critic_is_its_weights_square():
    a = torch.arange(12.0).view(3, 2, 2)
    x = torch.randn(5, 3, 2, 2, requires_grad=True)
    penalty = losses.r1_penalty((x * a).flatten(1).sum(1), x)
    assert torch.allclose(penalty, a.square().sum().expand(5))


def test_the_gradient_of_r1_is_to_the_bit_what_torchs_own_rules_give():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 12, requires_grad=True), torch.randn(12, 12, requires_grad=True)
    logits = (x @ weight).tanh().sum(1)
    (grad,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    by_torch = (grad.square().sum(1) * torch.arange(3)).sum()
    ours = (losses.r1_penalty(logits, x) * torch.arange(3)).sum()
    assert torch.equal(ours, by_torch)
    found, wanted = (
        torch.autograd.grad(loss, [x, weight], retain_graph=True) for loss in (ours, by_torch)
    )
    assert all(map(torch.equal, found, wanted))


def test_the_divergence_of_a_variance_below_floats_is_finite_and_raises_it():
    log_var = torch.tensor([[-104.0], [-1.0], [0.0]], requires_grad=True)
    kl = losses.gaussian_kl(torch.zeros(3, 1), log_var, 2.0)
    ratios = [v - 2 * math.log(2) for v in (-104.0, -1.0, 0.0)]
    expected = [0.5 * (math.exp(v) - 1 - v) for v in ratios]
    torch.testing.assert_close(kl.detach(), torch.tensor(expected))
    (slope,) = torch.autograd.grad(kl.sum(), log_var)
    torch.testing.assert_close(slope[:, 0], torch.tensor([0.5 * (math.exp(v) - 1) for v in ratios]))


def test_adversarial_is_softplus():
    t = torch.tensor([-2.0, 0.0, 3.0])
    expected = [math.log1p(math.exp(float(v))) for v in t]
    assert torch.allclose(losses.adversarial(t), torch.tensor(expected))


def test_squared_error_is_a_mean_over_the_width():
    assert losses.squared_error(torch.zeros(2, 4), torch.full((2, 4), 3.0)).tolist() == [9.0, 9.0]


def test_terms_have_their_closed_forms() -> None:
    logits, x = torch.randn(3, 7), torch.rand(3, 7)
    p = logits.sigmoid()
    wanted = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1)
    torch.testing.assert_close(losses.bernoulli(logits, x), wanted)
    torch.testing.assert_close(losses.squared(logits, x), 0.5 * ((p - x) ** 2).sum(1))
    q = torch.rand(3, 7).softmax(1)
    other = torch.distributions.Categorical(logits=logits)
    theirs = torch.distributions.kl_divergence(torch.distributions.Categorical(q), other)
    torch.testing.assert_close(losses.divergence(q, logits), theirs)
    assert float(losses.divergence(torch.eye(7)[:1], 1e3 * torch.eye(7)[:1])) == 0.0


def test_energy_distance_is_scipys_without_the_bias() -> None:
    """Scipy's is the root, in one dimension, and counts the pairs of a sample with itself."""
    x, y = torch.randn(40, 1, dtype=torch.float64), 1.5 * torch.randn(30, 1, dtype=torch.float64)
    within = {len(a): (a - a.T).abs().sum() / len(a) ** 2 for a in (x, y)}
    bias = sum(mean / (n - 1) for n, mean in within.items())
    biased = energy_distance(x.flatten().numpy(), y.flatten().numpy()) ** 2
    torch.testing.assert_close(losses.energy_distance(x, y) + bias, torch.tensor(biased))


def test_energy_distance_is_near_zero_for_one_distribution_only() -> None:
    x, y = torch.randn(500, 8), torch.randn(400, 8)
    same = losses.energy_distance(x, y).abs()
    assert same < 0.02 < 0.1 < losses.energy_distance(x, 1.5 * y)


def test_energy_distance_has_a_gradient_where_samples_coincide() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    losses.energy_distance(x, torch.ones(3, 4)).backward()
    torch.testing.assert_close(x.grad, torch.full((3, 4), -1 / 3))


def test_spread_is_the_mean_distance_of_two_samples() -> None:
    x = torch.randn(20, 3)
    torch.testing.assert_close(losses.mean_distance(x), torch.pdist(x).mean())
