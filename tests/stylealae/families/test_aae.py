"""The AAE and its like: which networks a phase trains, and what it minimises."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stylealae import losses
from stylealae.errors import ConfigError
from stylealae.families import FAMILIES, sections
from stylealae.families.aae_classes.config import ClassLossConfig
from stylealae.families.aae_classes.networks import ClassAae
from stylealae.families.aae_heads.networks import HeadsAae
from stylealae.families.aae_informed.networks import InformedAae
from stylealae.networks.group import NetworkGroup
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import AnyPhase
from stylealae.priors import rng
from stylealae.schedule import Progress

AT = Progress(stage=3, alpha=1.0, batch=8, lr=0.1)
SMALL = {"hidden": 12, "critic_hidden": 10, "z_width": 2}
TRAINED = {
    "autoencoder": {"reconstruction": "EG"},
    "aae": {"reconstruction": "EG", "critic": "D", "encoder": "E"},
    "aae_informed": {"reconstruction": "EG", "critic": "D", "encoder": "E"},
    "aae_supervised": {"reconstruction": "EG", "critic": "D", "encoder": "E"},
    "aae_classes": {
        "reconstruction": "EG", "critic": "DC", "encoder": "E", "classification": "E",
        "smoothness": "E",
    },
    "vae": {"elbo": "EG"},
    "factor_vae": {"autoencoder": "EG", "critic": "D"},
    "vamp_vae": {"elbo": "EGU"},
    "intro_vae": {"encoder": "E", "generator": "G"},
    "soft_intro_vae": {"encoder": "E", "generator": "G"},
    "wae": {"autoencoder": "EG"},
    "vae_gan": {"encoder": "E", "generator": "G", "critic": "D"},
    "ali": {"critic": "D", "autoencoder": "EG"},
    "age": {"encoder": "E", "generator": "G"},
    "gan": {"critic": "D", "generator": "G"},
}  # fmt: skip


def made(name: str, **loss: Any) -> tuple[NetworkGroup, Any, Any, CodeInputs, Tensor]:
    """Networks, both configs, a draw and a batch."""
    model, terms = sections(name)
    cfg = model(**{f.name: SMALL[f.name] for f in fields(model) if f.name in SMALL})
    loss_cfg = terms(**loss)
    source = rng(0, "test", 0)
    x = torch.rand(8, 1, 32, 32, generator=source) * 2 - 1
    labelled = torch.randint(0, 255, (20, 1, 32, 32), generator=source, dtype=torch.uint8)
    sampler = FAMILIES[name].sampler(
        cfg, loss_cfg, seed=0, mine=slice(0, 8), device=x.device,
        labelled=(labelled, torch.arange(20) % 10),
    )  # fmt: skip
    draw = sampler.draw("test", 0, AT, torch.arange(8) - 1)
    assert isinstance(draw, CodeInputs)
    return FAMILIES[name].build(cfg, 1), cfg, loss_cfg, draw, x


def gradients(
    nets: NetworkGroup, phase: AnyPhase, x: Tensor, r: CodeInputs, cfg: Any
) -> dict[str, bool]:
    """Which networks get one, of all that are asked for."""
    for network in nets.networks:
        for p in nets.grown(network, AT):
            p.requires_grad_(network in phase.trains)
            p.grad = None
    loss = phase.loss(nets, x, r, AT, cfg)
    assert loss.shape == ()
    loss.backward()  # type: ignore[no-untyped-call]
    return {a: any(p.grad is not None for p in nets.grown(a, AT)) for a in nets.networks}


@pytest.mark.parametrize("name", TRAINED)
def test_every_phase_moves_its_networks(name: str) -> None:
    extra = {"smoothness_weight": 1.0} if name == "aae_classes" else {}
    nets, _, cfg, r, x = made(name, **extra)
    phases = FAMILIES[name].phases(cfg, 0)
    assert {p.name: p.trains for p in phases} == TRAINED[name]
    for phase in phases:
        found = gradients(nets, phase, x, r, cfg)
        assert {a for a, has in found.items() if has} == set(phase.trains), phase.name


def test_phases_apart_keep_moments_of_their_own_and_merged_ones_share_them() -> None:
    apart = FAMILIES["aae"].phases(sections("aae").loss(), 0)
    owners = [p.moments for p in apart if "E" in p.trains]
    assert len(set(owners)) == len(owners) == 2
    critic, merged = FAMILIES["aae"].phases(sections("aae").loss(merged=True), 0)
    assert (critic.trains, merged.trains) == ("D", "EG")


def test_merged_is_the_sum_of_the_phases_that_train_e_and_g() -> None:
    nets, _, cfg, r, x = made("aae_classes", smoothness_weight=0.0)
    merged = ClassLossConfig(merged=True)
    terms = [p.loss(nets, x, r, AT, cfg) for p in FAMILIES["aae_classes"].phases(cfg, 0)]
    names = [p.name for p in FAMILIES["aae_classes"].phases(cfg, 0)]
    wanted = sum(t for n, t in zip(names, terms, strict=True) if n != "critic")
    both = FAMILIES["aae_classes"].phases(merged, 0)[1]
    torch.testing.assert_close(both.loss(nets, x, r, AT, merged), wanted)


def test_classification_looks_at_labelled_images_and_at_known_labels_of_the_batch() -> None:
    nets, _, cfg, r, x = made("aae_classes")
    assert isinstance(nets, ClassAae)
    phase = {p.name: p for p in FAMILIES["aae_classes"].phases(cfg, 0)}["classification"]
    found = phase.loss(nets, x, r, AT, cfg)
    y = nets.E(nets.rows(torch.cat((x, r.x_labelled)))).y[len(x) :]
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(y, r.y_labelled))
    alone = CodeInputs(
        z=r.z, noise=r.noise, y=r.y, labels=r.labels, x_labelled=x[:0], y_labelled=r.labels[:0]
    )
    y = nets.E(nets.rows(x)).y[1:]  # the first label is unknown
    wanted = torch.nn.functional.cross_entropy(y, r.labels[1:])
    torch.testing.assert_close(phase.loss(nets, x, alone, AT, cfg), wanted)
    alone.labels.fill_(-1)  # as of a small part of a batch of which few labels are known
    assert phase.loss(nets, x, alone, AT, cfg) == 0


def test_without_noise_on_images_the_slope_of_smoothness_is_taken_beside_them() -> None:
    """At an image the divergence has its minimum: what is left of a slope there is rounding."""
    nets, _, cfg, r, x = made("aae_classes", smoothness_weight=2.0)
    assert isinstance(nets, ClassAae)
    r = replace(r, x_labelled=x[:0], y_labelled=r.labels[:0], labels=torch.full((8,), -1))
    phase = {p.name: p for p in FAMILIES["aae_classes"].phases(cfg, 0)}["smoothness"]
    rows = nets.rows(x)
    own = nets.E(rows).y.softmax(1).detach()
    radius = 0.28 * (rows - rows.mean(0)).square().sum(1).mean().sqrt()

    def moved(direction: Tensor, by: Tensor) -> Tensor:
        step = by * direction / direction.norm(dim=1, keepdim=True)
        return losses.divergence(own, nets.E(rows + step).y)

    for key in ("a", "b"):
        aside = torch.randn(rows.shape, generator=rng(0, key, 0))
        beside = rows + 0.5 * radius * torch.nn.functional.normalize(aside)
        (slope,) = torch.autograd.grad(
            losses.divergence(own, nets.E(beside.requires_grad_(True)).y).sum(), beside
        )
        found = phase.loss(nets, x, replace(r, noise=rng(0, key, 0)), AT, cfg)
        torch.testing.assert_close(found, 2.0 * moved(slope, radius).mean())
        assert found > 20 * moved(aside, radius).mean()


def test_half_precision_keeps_the_slope_of_smoothness_where_a_class_is_sure() -> None:
    nets, _, cfg, r, x = made("aae_classes", smoothness_weight=2.0)
    assert isinstance(nets, ClassAae)
    nets.E.get_parameter("classes.bias").data[0] += 14.0
    r = replace(r, x_labelled=x[:0], y_labelled=r.labels[:0], labels=torch.full((8,), -1))
    phase = {p.name: p for p in FAMILIES["aae_classes"].phases(cfg, 0)}["smoothness"]
    wanted = phase.loss(nets, x, replace(r, noise=rng(0, "a", 0)), AT, cfg)
    with torch.autocast("cpu", torch.float16):
        found = phase.loss(nets, x, replace(r, noise=rng(0, "a", 0)), AT, cfg)
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.0)  # else a fifteenth of it


def test_moved_images_leave_the_statistics_of_batch_norms_alone() -> None:
    _, shape, cfg, r, x = made("aae_classes", smoothness_weight=1.0, merged=True)
    found = []
    for weight in (0.0, 1.0):
        nets = FAMILIES["aae_classes"].build(replace(shape, batch_norm=True), 1)
        terms = replace(cfg, smoothness_weight=weight)
        before = [t.clone() for t in nets.running()]
        FAMILIES["aae_classes"].phases(terms, 0)[1].loss(nets, x, r, AT, terms)
        assert not any(map(torch.equal, before, nets.running()))
        found.append(nets.running())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["intro_vae", "soft_intro_vae", "age"])
def test_only_data_moves_the_statistics_of_batch_norms(name: str) -> None:
    """Beyond the first hidden layer they depend on weights: the first one's are compared."""
    _, shape, cfg, r, x = made(name)
    nets: Any = FAMILIES[name].build(replace(shape, batch_norm=True), 1)
    first, norm = nets.E.trunk[0], nets.E.trunk[1]
    for phase in FAMILIES[name].phases(cfg, 0):
        norm.reset_running_stats()
        phase.loss(nets, x, r, AT, cfg)
        counted = int(norm.num_batches_tracked)
        mean = first(nets.rows(x)).mean(0) * (1 - (1 - norm.momentum) ** counted)
        torch.testing.assert_close(norm.running_mean, mean)


def test_the_discriminator_of_informed_codes_sees_labels() -> None:
    nets, *_ = made("aae_informed")
    assert isinstance(nets, InformedAae)
    z = torch.randn(1, 2).expand(3, 2)
    logits = nets.judge(z, torch.tensor([-1, 0, 1]))
    assert len(set(logits.tolist())) == 3


@pytest.mark.parametrize("name", ["aae", "aae_informed", "aae_classes"])
def test_labels_choose_components_of_the_prior_for_informed_codes_alone(name: str) -> None:
    model, terms = sections(name)
    cfg = model(prior="mixture", z_width=2)
    sampler = FAMILIES[name].sampler(
        cfg, terms(), seed=0, mine=slice(0, 8), device=torch.device("cpu"),
        labelled=(torch.empty(0, 1, 32, 32, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)),
    )  # fmt: skip
    first, second = (sampler.draw("test", 0, AT, torch.full((8,), y)).z for y in (0, 5))
    assert torch.equal(first, second) is (name != "aae_informed")
    if name == "aae_informed":  # on the right of the centre, and on its left
        assert bool((first[:, 0] > 0).all() and (second[:, 0] < 0).all())


def test_a_class_without_a_component_is_refused() -> None:
    model, _ = sections("aae_informed")
    said = r"model\.classes is 12 and model\.prior=mixture has 10 components.*classes=10 at most"
    with pytest.raises(ConfigError, match=said):
        FAMILIES["aae_informed"].build(model(prior="mixture", z_width=2, classes=12), 0)
    FAMILIES["aae_informed"].build(model(prior="gaussian", z_width=2, classes=12), 0)


def test_the_learnt_prior_is_of_no_batch() -> None:
    model, _ = sections("vamp_vae")
    with pytest.raises(ConfigError, match=r"another prior; set it to false$"):
        model(batch_norm=True)


def test_heads_are_added_to_styles_and_pushed_apart() -> None:
    nets, _, cfg, r, x = made("aae_heads")
    assert isinstance(nets, HeadsAae)
    z, y = torch.randn(4, 2), torch.eye(10)[:4]
    torch.testing.assert_close(nets.representation(z, y), z + nets.heads[:4])
    phase = FAMILIES["aae_heads"].phases(cfg, 0)[0]
    gradients(nets, phase, x, r, cfg)
    assert nets.heads.grad is not None
    heads = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    torch.testing.assert_close(
        losses.too_close(heads, 5.5).sort().values,
        torch.tensor([0.5, 5.5 - 18**0.5, 4.5]).sort().values,
    )


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_world_size_draws_the_same_batch(ranks: int) -> None:
    model, terms = (
        part(**given) for part, given in zip(sections("aae_classes"), (SMALL, {}), strict=True)
    )
    labels, pool = torch.arange(8) - 1, torch.randint(0, 255, (20, 1, 32, 32), dtype=torch.uint8)

    def drawn(mine: slice) -> CodeInputs:
        sampler = FAMILIES["aae_classes"].sampler(
            model, terms, seed=0, mine=mine, device=labels.device,
            labelled=(pool, torch.arange(20) % 10),
        )  # fmt: skip
        draw = sampler.draw("critic", 640, AT, labels[mine])
        assert isinstance(draw, CodeInputs)
        return draw

    whole, n = drawn(slice(0, 8)), 8 // ranks
    parts = [drawn(slice(r * n, r * n + n)) for r in range(ranks)]
    halves = [whole.part(slice(i, i + 4), 8) for i in (0, 4)]  # as micro-batches take them
    for name in ("z", "y", "labels", "x_labelled", "y_labelled"):
        for split in (parts, halves):
            joined = torch.cat([getattr(p, name) for p in split])
            assert torch.equal(joined, getattr(whole, name)), name
