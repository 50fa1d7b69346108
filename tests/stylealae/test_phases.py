"""Algorithm 1: who moves, who does not, and what is drawn."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from stylealae import losses
from stylealae.config import LossConfig, ModelConfig
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES
from stylealae.families.alae.config import AlaeModelConfig
from stylealae.families.alae.networks import AlaeMlp
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import Phase, phases_of
from stylealae.schedule import Progress

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
AT = Progress(stage=2, alpha=0.5, batch=12, lr=0.001)


def sampler(mine: slice, mixing_prob: float = 0.9) -> StyleInputSampler:
    return StyleInputSampler(
        seed=3, z_width=8, mixing_prob=mixing_prob, mine=mine, device=torch.device("cpu")
    )


def test_the_papers_letters():
    trained = {p.name: set(p.trains) for p in phases_of(LossConfig())}
    assert trained == {"critic": set("ED"), "generator": set("FG"), "reciprocity": set("EG")}
    released = phases_of(LossConfig(reciprocity_trains_f=True))
    assert set(released[2].trains) == set("FEG")


@pytest.mark.parametrize("released", [False, True])
def test_gradients_reach_every_trained_letter(released):
    cfg = LossConfig(reciprocity_trains_f=released, likeness_rate=0.5)
    x = torch.randn(12, 3, 16, 16)
    for phase in phases_of(cfg):
        nets = build(SMALL)
        phase.loss(nets, x, sampler(slice(0, 12)).draw(phase.name, 0, AT), AT, cfg).backward()
        for network in Networks.networks:
            has = [p.grad is not None for p in nets.grown(network, AT)]
            if network in phase.trains:
                assert all(has), (phase.name, network)
            elif network == "F" or phase.name == "critic":
                assert not any(has), (phase.name, network)  # detached: costs no backward either


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_every_world_size_draws_the_same_batch(ranks):
    whole = sampler(slice(0, 12)).draw("critic", 640, AT)
    n = 12 // ranks
    parts = [sampler(slice(r * n, r * n + n)).draw("critic", 640, AT) for r in range(ranks)]
    for name in ("z", "z_other", "crossover"):
        joined = torch.cat([getattr(p, name) for p in parts])
        assert torch.equal(joined, getattr(whole, name))


def test_draws_are_addressed_by_purpose_and_moment():
    one = sampler(slice(0, 12)).draw("critic", 640, AT).z
    assert torch.equal(one, sampler(slice(0, 12)).draw("critic", 640, AT).z)
    assert not torch.equal(one, sampler(slice(0, 12)).draw("generator", 640, AT).z)
    assert not torch.equal(one, sampler(slice(0, 12)).draw("critic", 641, AT).z)


def test_crossovers_lie_inside_the_grown_layers():
    at = Progress(stage=2, alpha=1.0, batch=4000, lr=0.1)
    crossover = sampler(slice(0, 4000)).draw("critic", 0, at).crossover
    assert set(crossover.tolist()) == {1, 2, 3, 4, 5, 6}
    assert (crossover < 6).float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert (sampler(slice(0, 12), 0.0).draw("critic", 0, AT).crossover == 6).all()


def test_lazy_r1_is_due_every_few_iterations_and_as_much_heavier():
    cfg = LossConfig(r1_every=4)
    names = [phases_of(cfg, i)[0].loss.__name__ for i in range(9)]
    assert [i for i, name in enumerate(names) if name == "critic_with_r1"] == [0, 4, 8]
    assert phases_of(LossConfig(r1_gamma=0.0))[0].loss.__name__ == "critic"
    x, r = torch.randn(12, 3, 16, 16), sampler(slice(0, 12)).draw("critic", 0, AT)
    nets = build(SMALL)

    def loss(iteration: int, cfg: LossConfig) -> torch.Tensor:
        return phases_of(cfg, iteration)[0].loss(nets, x, replace(r, noise=None), AT, cfg)

    without, once = loss(1, cfg), loss(0, LossConfig())
    torch.testing.assert_close(loss(0, cfg) - without, 4 * (once - without))


def test_likeness_comes_last_and_is_off_by_default():
    on = {"likeness_rate": 1.0}
    assert [p.name for p in phases_of(LossConfig(**on))] == [
        *(p.name for p in phases_of(LossConfig())), "likeness"
    ]  # fmt: skip
    assert [p.name for p in phases_of(LossConfig(merged=True, **on))][1:] == ["merged", "likeness"]


@pytest.mark.parametrize("letter", ["E", "G"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_likeness_has_the_gradient_that_finite_differences_give(letter, share):
    cfg = LossConfig(likeness_rate=0.7, likeness_structure=share)
    nets = build(SMALL).double()
    phase = phases_of(cfg)[-1]
    x = torch.randn(12, 3, 16, 16, dtype=torch.float64)
    r = replace(sampler(slice(0, 12)).draw(phase.name, 0, AT), noise=None)
    block = getattr(nets, letter).blocks[1]
    for name, p in block.named_parameters():
        if "noise" in name:
            continue  # there is none
        (grad,) = torch.autograd.grad(phase.loss(nets, x, r, AT, cfg), p)
        way, step = torch.randn_like(p), 1e-7
        with torch.no_grad():
            p += step * way
            up = phase.loss(nets, x, r, AT, cfg)
            p -= 2 * step * way
            down = phase.loss(nets, x, r, AT, cfg)
            p += step * way
        torch.testing.assert_close((grad * way).sum(), (up - down) / (2 * step), rtol=1e-4, atol=0)


@pytest.mark.parametrize("letter", ["E", "G"])
@pytest.mark.parametrize("family", ["grown", "mlp"])
def test_likeness_in_features_moves_g_and_w_as_finite_differences_say(letter, family):
    """By the way of w and G alone: the features that compare stay as they are."""
    cfg = LossConfig(likeness_rate=1.0, likeness_features=1e6)  # beside it the pixels are nothing
    if family == "grown":
        nets = build(SMALL).double()
        part = getattr(nets, letter).blocks[1]
    else:
        nets = AlaeMlp(
            AlaeModelConfig(
                resolution=16,
                side=16,
                channels=3,
                z_width=8,
                w_width=8,
                hidden=24,
                mapping_hidden=16,
            )
        ).double()
        part = getattr(nets, letter)
    judge = deepcopy(nets)
    x = torch.randn(12, 3, 16, 16, dtype=torch.float64)
    r = replace(sampler(slice(0, 12)).draw("likeness", 0, AT), noise=None)

    def unlike() -> torch.Tensor:
        again = nets.G(nets.E(x, AT), AT)
        found, wanted = (judge.with_features(a, AT)[1] for a in (again, x))
        errors = [(a - b).abs().mean() for a, b in zip(found, wanted, strict=True)]
        return 1e6 * torch.stack(errors).mean()

    loss = phases_of(cfg)[-1].loss(nets, x, r, AT, cfg)
    torch.testing.assert_close(loss.detach(), unlike(), rtol=1e-4, atol=0)
    for name, p in part.named_parameters():
        if "noise" in name:
            continue
        (grad,) = torch.autograd.grad(loss, p, retain_graph=True)
        way, step = torch.randn_like(p), 1e-7
        with torch.no_grad():
            p += step * way
            up = unlike()
            p -= 2 * step * way
            down = unlike()
            p += step * way
        torch.testing.assert_close((grad * way).sum(), (up - down) / (2 * step), rtol=1e-3, atol=1)


def test_likeness_may_ask_that_styles_of_images_are_spread_as_f_s():
    x, r = torch.randn(12, 3, 16, 16), sampler(slice(0, 12)).draw("likeness", 0, AT)
    r = replace(r, noise=None)
    nets, weight = build(SMALL), 0.7

    def loss(prior: float, n: int = 12) -> torch.Tensor:
        cfg = LossConfig(likeness_rate=1.0, likeness_prior=prior)
        return phases_of(cfg)[-1].loss(nets, x[:n], r.part(slice(0, n), 12), AT, cfg)

    more = loss(weight) - loss(0.0)
    wanted, w = nets.F(r.z).detach(), nets.E(x, AT)
    apart = losses.energy_distance(w, wanted) / torch.pdist(wanted).mean()
    torch.testing.assert_close(more, weight * apart)
    of_e = list(nets.grown("E", AT))
    found, asked = (torch.autograd.grad(a, of_e) for a in (more, weight * apart))
    torch.testing.assert_close(found, asked, rtol=1e-3, atol=1e-5)
    loss(weight).backward()
    assert all(p.grad is None for p in nets.F.parameters())
    assert loss(weight, 1) == loss(0.0, 1)  # of one image there is no distribution


def test_merged_gives_e_the_gradient_of_reciprocity_and_g_that_of_both():
    x = torch.randn(12, 3, 16, 16, dtype=torch.float64)
    r = sampler(slice(0, 12), 0.0).draw("any", 0, AT)
    r = replace(r, z=r.z.double(), z_other=r.z_other.double(), noise=None)

    def gradients(phase: Phase, cfg: LossConfig) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        nets = build(SMALL).double()
        for network in Networks.networks:
            for p in nets.grown(network, AT):
                p.requires_grad_(network in phase.trains)
        loss = phase.loss(nets, x, r, AT, cfg)
        loss.backward()
        return loss.detach(), {n: p.grad for n, p in nets.named_parameters() if p.grad is not None}

    apart = LossConfig(reciprocity_trains_f=True)
    (_, generator, reciprocity), (_, both) = phases_of(apart), phases_of(LossConfig(merged=True))
    loss_g, fooling = gradients(generator, apart)
    loss_r, recovering = gradients(reciprocity, apart)
    loss, merged = gradients(both, LossConfig(merged=True))
    torch.testing.assert_close(loss, loss_g + loss_r)
    assert merged.keys() == fooling.keys() | recovering.keys()
    for name, grad in merged.items():
        parts = [part[name] for part in (fooling, recovering) if name in part]
        torch.testing.assert_close(grad, sum(parts), msg=name)


def test_a_critic_of_its_own_leaves_e_to_reciprocity():
    family = FAMILIES["stylealae_separate"]
    cfg = family.sections.loss()
    phases = family.phases(cfg, 0)
    trained = {p.name: set(p.trains) for p in phases}
    assert trained == {"critic": set("DC"), "generator": set("FG"), "reciprocity": set("EG")}
    x, r = torch.randn(12, 3, 16, 16), sampler(slice(0, 12)).draw("any", 0, AT)
    for phase in phases:
        nets = family.build(SMALL)
        phase.loss(nets, x, r, AT, cfg).backward()
        for network in nets.networks:
            has = [p.grad is not None for p in nets.grown(network, AT)]
            assert all(has) if network in phase.trains else network != "E" or not any(has)
    with pytest.raises(ConfigError, match=r"set loss\.merged=false"):
        type(cfg)(merged=True)


def test_reciprocity_is_of_the_style_or_in_ablations_of_z_or_of_the_image():
    nets = build(SMALL)
    r = replace(sampler(slice(0, 12)).draw("any", 0, AT), noise=None)
    w = nets.F(r.z)
    x = nets.G(w, AT)
    again = nets.E(x, AT)
    wanted = {"w": (again, w), "z": (again, r.z), "x": (nets.G(again, AT), x)}
    for space, (a, b) in wanted.items():
        cfg = LossConfig(reciprocity_in=space, reciprocity_weight=2.0)
        phase = phases_of(cfg)[2]
        found = phase.loss(nets, torch.zeros(12, 3, 16, 16), r, AT, cfg)
        assert phase.trains == "EG"
        torch.testing.assert_close(found, 2.0 * (a - b).square().mean(), rtol=1e-5, atol=0)
    with pytest.raises(ConfigError, match=r"set loss\.merged=false"):
        LossConfig(merged=True, reciprocity_in="x")
