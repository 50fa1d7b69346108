"""The networks as a whole: growth, counts, and that what is grown is what is used."""

import pytest
import torch

from stylealae.config import ModelConfig
from stylealae.networks import Networks, build
from stylealae.schedule import Growth

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


def test_the_ffhq_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        nets = build(ModelConfig())
    count = {a: sum(p.numel() for p in getattr(nets, a).parameters()) for a in Networks.networks}
    assert sum(count.values()) / 1e6 == pytest.approx(54.2, abs=0.05)
    at_work = [
        sum(p.numel() for a in Networks.networks for p in nets.grown(a, Growth(stage=s))) / 1e6
        for s in range(9)
    ]
    published = [12.3, 23.9, 35.4, 47.0, 51.8, 53.4, 53.9, 54.1, 54.2]
    assert at_work == pytest.approx(published, abs=0.06)


@pytest.mark.parametrize("stage", [1, 2])
def test_alpha_zero_is_the_stage_before(stage):
    nets = build(SMALL).double()
    now, before = Growth(stage=stage, alpha=0.0), Growth(stage=stage - 1)
    w = torch.randn(3, 8, dtype=torch.float64)
    x_before = nets.G(w, before)
    twice = x_before.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(nets.G(w, now), twice)
    torch.testing.assert_close(nets.E(twice, now), nets.E(x_before, before))


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("stage", [0, 2])
def test_grown_is_exactly_what_has_a_gradient(stage, alpha):
    at = Growth(stage=stage, alpha=alpha if stage else 1.0)
    nets = build(SMALL)
    noise = torch.Generator().manual_seed(0)
    nets.D(nets.E(nets.G(nets.F(torch.randn(2, 8)), at, noise), at)).sum().backward()
    used = {p for p in nets.parameters() if p.grad is not None}
    assert used == {p for a in Networks.networks for p in nets.grown(a, at)}


def test_the_same_seed_builds_the_same_networks_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, two, other = build(SMALL, 1), build(SMALL, 1), build(SMALL, 2)
    assert torch.equal(before, torch.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.F.layers[0].weight, other.F.layers[0].weight)


def test_noise_is_per_image_and_off_means_off():
    nets, at = build(SMALL), Growth(stage=0)
    w = torch.randn(1, 8).expand(2, -1)
    assert torch.equal(*nets.G(w, at))
    with torch.no_grad():
        nets.G.blocks[0].layer_1.noise_weight.fill_(1.0)
    assert torch.equal(*nets.G(w, at))
    assert not torch.equal(*nets.G(w, at, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("value", [0.0, 0.7, -1.0])
def test_a_constant_batch_keeps_losses_and_gradients_finite(value):
    from stylealae.losses import r1_penalty

    nets, at = build(SMALL), Growth(stage=2)
    x = torch.full((2, 3, 16, 16), value, requires_grad=True)
    logits = nets.D(nets.E(x, at))
    loss = (logits + r1_penalty(logits, x)).sum()
    loss.backward()
    grads = [p.grad for a in "ED" for p in nets.grown(a, at)]
    assert loss.isfinite()
    assert all(g is not None and g.isfinite().all() for g in grads)
