"""Objectives of the families against closed forms, and against their papers' formulas in float64.

The expected values are made of torch.distributions and numpy, from the networks' own outputs; the
noise of a phase is drawn again from its key.
"""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from stylealae import losses
from stylealae.families import FAMILIES, sections
from stylealae.families.common.networks import Code
from stylealae.families.common.phases import Encoded
from stylealae.families.factor_vae.phases import dealt
from stylealae.families.wae.phases import match
from stylealae.phase_inputs import CodeInputs
from stylealae.priors import Gaussians, Sphere, rng
from stylealae.schedule import Progress

AT = Progress(stage=3, alpha=1.0, batch=6, lr=0.1)
SHAPE = {"resolution": 8, "side": 8, "hidden": 9, "critic_hidden": 7, "z_width": 3}


class Case:
    """A family's networks and config, a batch, and the phases' losses and inputs."""

    def __init__(self, family: str, **terms: Any) -> None:
        model, loss = sections(family)
        read = {f.name: SHAPE[f.name] for f in fields(model) if f.name in SHAPE}
        self.family, self.shape, self.cfg = FAMILIES[family], model(**read), loss(**terms)
        self.n: Any = self.family.build(self.shape, 1)
        self.x = torch.rand(6, 1, 8, 8, generator=rng(0, "x", 0)) * 2 - 1
        self.rows: Tensor = self.n.rows(self.x)

    def inputs(self) -> Any:
        """Those of every phase, the noise at its beginning."""
        no_labels = self.x[:0].byte(), torch.zeros(0, dtype=torch.int64)
        sampler = self.family.sampler(
            self.shape, self.cfg, seed=0, mine=slice(0, 6), device=self.x.device,
            labelled=no_labels,
        )  # fmt: skip
        found = sampler.draw("phase", 0, AT)
        assert isinstance(found, CodeInputs)
        return found

    def losses(self) -> list[float]:
        """One a phase."""
        phases = self.family.phases(self.cfg, 0)
        return [p.loss(self.n, self.x, self.inputs(), AT, self.cfg).item() for p in phases]

    def normal(self, rows: Tensor) -> Independent:
        """q(z|x)."""
        mean, log_var = self.n.E.moments(rows)
        return Independent(Normal(mean.double(), (0.5 * log_var.double()).exp()), 1)

    def kl(self, rows: Tensor) -> Tensor:
        """KL(q(z|x) || N(0, 1)).  -> [N]"""
        q = self.normal(rows)
        standard = Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1)
        return kl_divergence(q, standard)

    def draw(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        """From q(z|x), with the phase's noise.  -> [N, Z]"""
        q = self.normal(rows)
        z: Tensor = q.mean + q.stddev * torch.randn(q.mean.shape, generator=noise)
        return z.float()

    def image(self, z: Tensor) -> Tensor:
        """G's grey values.  -> [N, P]"""
        grey: Tensor = self.n.decode(z, z[:, :0]).sigmoid()
        return grey

    def error(self, z: Tensor, rows: Tensor) -> Tensor:
        """Half the squared error: -log N(x; G(z), 1) but for its constant.  -> [N]"""
        near = Normal(self.image(z).double(), 1.0)
        return (near.log_prob(near.mean) - near.log_prob(rows.double())).sum(1)


def bce(logits: Tensor, target: float) -> Tensor:
    """A discriminator's cross-entropy, the mean.  [N] -> []"""
    wanted = torch.full_like(logits, target)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_bound_of_a_beta_vae(beta: float) -> None:
    c = Case("vae", beta=beta, reconstruction_weight=2.0)
    z = c.draw(c.rows, c.inputs().noise)
    wanted = (2.0 * c.error(z, c.rows) + beta * c.kl(c.rows)).mean()
    assert c.losses() == pytest.approx([wanted.item()], rel=1e-5)


def test_factor_vae_pays_for_total_correlation() -> None:
    c = Case("factor_vae", tc_weight=3.0)
    r = c.inputs()
    z = c.draw(c.rows, r.noise)
    bound = (c.error(z, c.rows) + c.kl(c.rows)).mean()
    critic = bce(c.n.judge(z, r.labels), 1.0) + bce(c.n.judge(dealt(z, r.noise), r.labels), 0.0)
    wanted = [bound + 3.0 * c.n.judge(z, r.labels).mean(), critic]
    assert c.losses() == pytest.approx([v.item() for v in wanted], rel=1e-5)


def test_dealing_out_keeps_the_marginals_and_loses_the_total_correlation() -> None:
    """The density ratio's mean log is -log(1 - rho^2) / 2 of joint samples, negative of dealt."""
    rho = 0.8
    joint = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, rho], [rho, 1.0]]))
    z = torch.randn(20_000, 2, generator=rng(0, "z", 0)) @ joint.scale_tril.T
    alone = Normal(0.0, 1.0)

    def log_ratio(z: Tensor) -> float:
        return float((joint.log_prob(z) - alone.log_prob(z).sum(1)).mean())

    again = dealt(z, rng(0, "deal", 0))
    assert torch.equal(again.sort(0).values, z.sort(0).values)
    assert log_ratio(z) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.03)
    assert log_ratio(again) < -0.3
    assert abs(float(torch.corrcoef(again.T)[0, 1])) < 0.03


def test_mmd_is_the_sum_over_all_pairs() -> None:
    x, y = (torch.randn(n, 3, generator=rng(n, "x", 0)) for n in (5, 7))

    def kernel(a: Tensor, b: Tensor) -> float:
        square = float(((a.double() - b.double()) ** 2).sum())
        return sum(2 * 3 * s / (2 * 3 * s + square) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    def within(a: Tensor) -> float:
        pairs = [kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j]
        return float(np.mean(pairs))

    wanted = within(x) + within(y) - 2 * float(np.mean([kernel(a, b) for a in x for b in y]))
    assert float(losses.mmd(x, y)) == pytest.approx(wanted, rel=1e-5)


def test_the_gradient_of_mmd_is_that_of_finite_differences() -> None:
    x, y = (torch.randn(n, 3, generator=rng(n, "x", 0)).double() for n in (5, 7))
    assert torch.autograd.gradcheck(losses.mmd, (x.requires_grad_(True), y.requires_grad_(True)))
    assert torch.autograd.gradcheck(lambda a: losses.mmd(a, y.detach()), (x,))


def test_mmd_is_near_zero_for_one_distribution_only() -> None:
    x, y = (torch.randn(400, 3, generator=rng(seed, "x", 0)) for seed in (0, 1))
    assert abs(float(losses.mmd(x, y))) < 0.02 < 0.2 < float(losses.mmd(x + 1.0, y))


def test_wae_adds_the_mmd_to_the_error() -> None:
    c = Case("wae", mmd_weight=5.0)
    z = c.n.E(c.rows).z
    wanted = c.error(z, c.rows).mean() + 5.0 * losses.mmd(z, c.inputs().z)
    assert c.losses() == pytest.approx([wanted.item()], rel=1e-5)


def test_mmd_is_computed_in_float32_whatever_the_precision() -> None:
    codes = (0.5 * torch.randn(6, SHAPE["z_width"], generator=rng(0, "z", 0))).bfloat16()
    c = Case("wae")
    e = Encoded(Code(codes, codes[:, :0]), codes, codes, None)
    wanted = c.cfg.mmd_weight * losses.mmd(codes.double(), c.inputs().z.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = match(c.n, c.x, e, c.inputs(), c.cfg)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted.item(), rel=2e-5)


def test_vae_gan_compares_features_of_the_discriminator() -> None:
    c = Case("vae_gan", r1_gamma=0.0, kl_weight=0.5, feature_weight=2.0, style_weight=0.3)
    r = c.inputs()
    again, sampled = c.image(c.draw(c.rows, r.noise)), c.image(r.z)
    there = Normal(c.n.features(c.rows).double(), 1.0)
    unlike = (there.log_prob(there.mean) - there.log_prob(c.n.features(again).double())).sum(1)
    deceit = bce(c.n.judge(again), 1.0) + bce(c.n.judge(sampled), 1.0)
    both = torch.cat((c.n.judge(again), c.n.judge(sampled)))
    wanted = [
        (0.5 * c.kl(c.rows) + 2.0 * unlike).mean(),
        0.3 * unlike.mean() + deceit,
        bce(c.n.judge(c.rows), 1.0) + bce(both, 0.0),
    ]
    assert c.losses() == pytest.approx([v.item() for v in wanted], rel=1e-5)


def test_r1_of_a_discriminator_is_weighted_by_half_of_gamma() -> None:
    c = Case("vae_gan", r1_gamma=4.0)
    rows = c.rows.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(c.n.judge(rows).sum(), rows)
    more = c.losses()[2]
    c.cfg = replace(c.cfg, r1_gamma=0.0)
    wanted = 4.0 / 2 * float(slope.double().square().sum(1).mean())
    assert more - c.losses()[2] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("posterior", ["gaussian", "deterministic"])
def test_ali_judges_pairs(posterior: str) -> None:
    c = Case("ali", r1_gamma=0.0)
    c.shape = replace(c.shape, posterior=posterior)
    c.n = c.family.build(c.shape, 1)
    r = c.inputs()
    z = c.draw(c.rows, r.noise) if posterior == "gaussian" else c.n.E(c.rows).z
    encoded, made = (c.n.judge(torch.cat(pair, 1)) for pair in ((c.rows, z), (c.image(r.z), r.z)))
    wanted = [bce(encoded, 1.0) + bce(made, 0.0), bce(encoded, 0.0) + bce(made, 1.0)]
    assert c.losses() == pytest.approx([v.item() for v in wanted], rel=1e-5)


def test_a_batchs_moments_are_those_of_a_normal() -> None:
    z = 1.5 * torch.randn(50, 3, generator=rng(0, "z", 0)) + 0.3
    own = Normal(z.double().mean(0), z.double().std(0))
    wanted = kl_divergence(own, Normal(torch.zeros(3).double(), 1.0)).sum()
    assert float(losses.moments_kl(z)) == pytest.approx(float(wanted), rel=1e-5)


def test_age_is_a_game_of_two() -> None:
    c = Case("age", game_weight=2.0, reconstruction_weight=0.5, code_weight=3.0)
    r = c.inputs()
    z, again = c.n.E(c.rows).z, c.n.E(c.image(r.z)).z
    for codes in (z, again, r.z):
        torch.testing.assert_close(codes.square().mean(1), torch.ones(6))
    game = losses.moments_kl(z) - losses.moments_kl(again)
    wanted = [
        2.0 * game + 0.5 * c.error(z, c.rows).mean(),
        2.0 * losses.moments_kl(again) + 3.0 * (again - r.z).square().mean(),
    ]
    assert c.losses() == pytest.approx([v.item() for v in wanted], rel=1e-5)


def test_samples_on_the_sphere_are_uniform() -> None:
    z = Sphere(3, 2.0).sample(20_000, rng(0, "z", 0))
    torch.testing.assert_close(z.square().mean(1), torch.full((20_000,), 4.0))
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), 4.0 * torch.eye(3), atol=0.12, rtol=0)


def test_intro_vae_pushes_generated_images_to_the_margin() -> None:
    c = Case("intro_vae", game_weight=0.5, margin=4.0)
    r = c.inputs()
    z = c.draw(c.rows, r.noise)
    fakes = [c.kl(c.image(z)), c.kl(c.image(r.z))]
    push = sum((4.0 - kl).clamp(min=0.0).mean() for kl in fakes)
    pull = sum(kl.mean() for kl in fakes)
    error = c.error(z, c.rows).mean()
    wanted = [error + c.kl(c.rows).mean() + 0.5 * push, error + 0.5 * pull]
    assert c.losses() == pytest.approx([v.item() for v in wanted], rel=1e-5)


def test_soft_intro_vae_lowers_the_exponential_of_the_bound() -> None:
    c = Case("soft_intro_vae", kl_weight=0.7, generated_kl_weight=1.3, again_weight=0.2)
    r, pixels = c.inputs(), 64
    z = c.draw(c.rows, r.noise)
    fake = c.image(torch.cat((z, r.z)))
    error, error_again = c.error(z, c.rows), c.error(c.draw(fake, r.noise), fake)
    exp = (-2.0 / pixels * (error_again + 1.3 * c.kl(fake))).exp()
    pull = 0.7 * c.kl(fake) + 0.2 * error_again
    wanted = [
        (error + 0.7 * c.kl(c.rows)).mean() / pixels + 0.25 * 2 * exp.mean(),
        (error.mean() + pull.mean()) / pixels,
    ]
    assert c.losses() == pytest.approx([v.item() for v in wanted], rel=1e-5)


def test_g_of_soft_intro_vae_learns_nothing_from_the_codes_that_are_decoded_again() -> None:
    c = Case("soft_intro_vae", reconstruction_weight=1.0, kl_weight=0.0, again_weight=1.0)
    r = c.inputs()
    z = c.draw(c.rows, r.noise).detach()
    fake = c.image(torch.cat((z, r.z))).detach()
    z_again = c.draw(fake, r.noise).detach()
    wanted = (c.error(z, c.rows).mean() + c.error(z_again, fake).mean()) / 64
    found = c.family.phases(c.cfg, 0)[1].loss(c.n, c.x, c.inputs(), AT, c.cfg)
    weights = list(c.n.G.parameters())
    for ours, theirs in zip(
        *(torch.autograd.grad(v, weights) for v in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_the_vamp_prior_is_a_mixture_of_posteriors() -> None:
    c = Case("vamp_vae", beta=2.0)
    c.n.U.logits.data.normal_(std=4.0)
    q, z = c.normal(c.rows), c.draw(c.rows, c.inputs().noise)
    parts = c.normal(c.n.U())
    prior = MixtureSameFamily(Categorical(torch.ones(500)), parts)
    kl = q.log_prob(z.double()) - prior.log_prob(z.double())
    wanted = (c.error(z, c.rows) + 2.0 * kl).mean()
    assert c.losses() == pytest.approx([wanted.item()], rel=1e-4)


def test_samples_of_learnt_gaussians_have_their_moments() -> None:
    prior = Gaussians(
        2, 2.0, mean=torch.tensor([[0.0, 1.0], [4.0, 1.0]]), log_var=torch.zeros(2, 2)
    )
    z = prior.sample(20_000, rng(0, "z", 0))
    torch.testing.assert_close(z.mean(0), torch.tensor([4.0, 2.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(z.var(0), torch.tensor([4.0 + 16.0, 4.0]), atol=0.3, rtol=0)
    square = torch.cartesian_prod(*[torch.linspace(-10, 18, 113)] * 2)
    assert float(prior.log_prob(square).exp().sum()) / 16 == pytest.approx(1.0, abs=0.01)
