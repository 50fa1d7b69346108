"""T: identity at p 0, exact where it only moves pixels, differentiable twice, and no leak at p 0.8.

Checked against torch's own flips and rotations, numerical derivatives, and counting.
"""

import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from stylealae import augment
from stylealae.augment import COLUMNS, draw, transformed
from stylealae.config import WARPS, AugmentConfig, AugmentKind, LossConfig, ModelConfig
from stylealae.errors import ConfigError
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputs, StyleInputSampler
from stylealae.phases import critic, critic_with_r1, generator, merged, reciprocity
from stylealae.priors import rng
from stylealae.schedule import Growth, Progress

KINDS: tuple[AugmentKind, ...] = get_args(AugmentKind)
NAMES = [name for names in COLUMNS.values() for name in names]
SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
AT = Growth(stage=1)


def t_of(n: int, **values: float) -> Tensor:
    """The numbers of one transform, n times.  -> [n, K]"""
    return torch.tensor([[values.get(name, 0.0) for name in NAMES]]).repeat(n, 1)


def test_every_kind_has_columns_of_its_own() -> None:
    assert set(COLUMNS) == set(KINDS)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("channels", [1, 3])
def test_at_p_0_an_image_stays_to_the_last_bit(channels: int) -> None:
    x = torch.randn(4, channels, 8, 8)
    assert torch.equal(transformed(x, draw(4, 0.0, KINDS, rng(0, "t", 0))), x)
    assert transformed(x, None) is x


def test_moves_are_those_of_torch() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(transformed(x, t_of(2, flip=1.0)), x.flip(3))
    for turns in (1, 2, 3):
        assert torch.equal(transformed(x, t_of(2, turns=turns)), torch.rot90(x, turns, (2, 3)))
    moved = transformed(x, t_of(2, down=0.125, right=-0.25))
    assert torch.equal(moved[:, :, 1:, :6], x[:, :, :7, 2:])
    assert torch.equal(moved[:, :, 0], moved[:, :, 1])  # mirrored at the edge
    assert torch.allclose(
        transformed(x, t_of(2, angle=torch.pi / 2)), x.rot90(1, (2, 3)), atol=1e-5
    )


def test_colours_keep_grey_grey_and_a_cut_is_grey() -> None:
    grey = torch.rand(2, 1, 8, 8).expand(-1, 3, -1, -1)
    turned = transformed(grey, t_of(2, hue=1.0, log2_saturation=-2.0))
    assert torch.allclose(turned, grey, atol=1e-6)
    shifted = transformed(grey, t_of(2, brightness=0.25, log2_contrast=1.0))
    assert torch.allclose(shifted, 2 * (grey + 0.25), atol=1e-6)
    x = torch.rand(1, 3, 8, 8) + 0.5
    once = transformed(x, t_of(1, hue=2 * torch.pi / 3))
    assert torch.allclose(once, x.roll(1, 1), atol=1e-5)  # a third of the way round
    cut = transformed(x, t_of(1, cut=1.0, cut_y=0.5, cut_x=0.5))
    assert bool((cut[:, :, 2:6, 2:6] == 0).all())
    assert torch.equal(cut[:, :, :2], x[:, :, :2])


def test_both_derivatives_are_the_numerical_ones() -> None:
    x = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    t = draw(1, 1.0, KINDS[:-1], rng(0, "t", 1))
    assert torch.autograd.gradcheck(lambda a: transformed(a, t), (x,))
    assert torch.autograd.gradgradcheck(lambda a: transformed(a, t).square(), (x,))


def test_where_nothing_is_scaled_or_rotated_nothing_is_interpolated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the bit what interpolating comes to, which GPUs cannot repeat to the bit."""
    x = torch.randn(8, 3, 8, 8, requires_grad=True)
    t = draw(8, 0.8, [kind for kind in KINDS if kind not in WARPS], rng(0, "t", 0))
    wanted = transformed(x, t)
    (slope,) = torch.autograd.grad(wanted.square().sum(), x)
    monkeypatch.setattr(augment, "_warped", None)
    found = transformed(x, t, warped=False)
    assert torch.equal(found, wanted)
    assert torch.equal(torch.autograd.grad(found.square().sum(), x)[0], slope)
    assert not x.detach().equal(wanted)


def test_one_kind_more_moves_no_other() -> None:
    few, all_of_them = (draw(8, 0.5, kinds, rng(0, "t", 0)) for kinds in (KINDS[:2], KINDS))
    assert torch.equal(few[:, :2], all_of_them[:, :2])
    assert not few[:, 2:].any()


def test_at_p_08_the_image_itself_is_the_likeliest_orientation() -> None:
    """What keeps a generator from drawing transformed images: it can tell which are the upright."""
    t = draw(20_000, 0.8, ("turn", "flip"), rng(0, "t", 0))
    turns = torch.stack([(t[:, 1] == k).float().mean() for k in range(4)])
    assert torch.allclose(turns, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.015)
    assert float((t[:, 0] == 0).float().mean()) == pytest.approx(0.6, abs=0.015)


def seen_as(p: float) -> Tensor:
    """How often T shows each of an image's 8 turned and mirrored copies as which.  -> [8, 8]"""
    x = torch.arange(16.0).view(1, 1, 4, 4)
    copies = torch.cat([y.rot90(k, (2, 3)) for y in (x, x.flip(3)) for k in range(4)])
    t = draw(4000, p, ("turn", "flip"), rng(0, "t", 0))
    rows = []
    for copy_ in copies:
        shown = transformed(copy_.expand(len(t), 1, 4, 4), t)
        rows.append((shown[:, None] == copies).flatten(2).all(2).double().mean(0))
    found = torch.stack(rows)
    assert torch.allclose(found.sum(1), torch.ones(8, dtype=torch.float64))  # nothing else is shown
    return found


def trained_under(t: Tensor, start: int) -> Tensor:
    """The shares in which a generator draws the 8 copies, trained to show what copy 0 shows.

    The loss is the divergence that a perfect critic tells it of (Goodfellow et al. 2014), the
    generator a softmax that draws nearly nothing but copy `start` at first.
    """
    a = (4.0 * torch.eye(8, dtype=torch.float64)[start]).requires_grad_(True)
    adam = torch.optim.Adam([a], lr=0.1)
    for _ in range(300):
        real, fake = t[0], a.softmax(0) @ t
        half = (real + fake) / 2
        loss = (real * (real / half).log() + fake * (fake / half).log()).sum()
        (a.grad,) = torch.autograd.grad(loss, a)
        adam.step()
    return a.detach().softmax(0)


@pytest.mark.parametrize("start", [1, 4, 6])
def test_a_generator_trained_under_t_draws_untransformed_images(start: int) -> None:
    """Up to p 0.8 what T shows tells what was drawn; at p 1 any copy is as good as the upright."""
    assert trained_under(seen_as(0.8), start)[0] > 0.97
    at_1 = seen_as(1.0)
    assert torch.allclose(at_1, torch.full((8, 8), 0.125, dtype=torch.float64), atol=0.03)
    assert trained_under(at_1.mean(0).expand(8, 8), start)[start] > 0.88  # where it began


def test_shifts_up_to_p_08_lose_no_frequency_of_an_image() -> None:
    """T's mean effect on each frequency is above 0, so images that T shows alike are alike."""
    side, spectra = 256, {}
    for p in (0.8, 0.9):
        t = draw(100_000, p, ("shift",), rng(0, "t", 0))
        by = (t[:, NAMES.index("down")] * side).round().long() % side
        spectra[p] = torch.fft.fft(torch.bincount(by, minlength=side).double() / len(by)).real
    assert spectra[0.8].min() > 0.01
    assert spectra[0.9].min() < -0.05


def test_ranks_share_the_draw_of_the_whole_batch() -> None:
    at, cfg = Progress(stage=1, batch=8, lr=0.1), AugmentConfig(mode="fixed", p=0.5)
    shares = [
        StyleInputSampler(seed=1, z_width=8, mine=mine, device=torch.device("cpu")).transforms(
            "critic/real", 64, at, cfg, 0.5
        )
        for mine in (slice(0, 8), slice(0, 4), slice(4, 8))
    ]
    assert torch.equal(shares[0], torch.cat(shares[1:]))


def inputs(n: int, t: Tensor | None, t_fake: Tensor | None) -> StyleInputs:
    """Styles that are not mixed, without noise."""
    return StyleInputs(z=torch.randn(n, 8), noise=None, t=t, t_fake=t_fake)


@pytest.fixture(scope="module")
def nets() -> Networks:
    return build(SMALL)


def test_phases_i_and_ii_see_transformed_images_and_phase_iii_does_not(nets: Networks) -> None:
    x, cfg = torch.rand(4, 3, 8, 8) * 2 - 1, LossConfig()
    one, other = t_of(4, flip=1.0), t_of(4, turns=1.0)
    plain = inputs(4, None, None)
    under = inputs(4, one, other)
    for loss in (critic, critic_with_r1):
        seed = plain.z
        real_only = StyleInputs(z=seed, noise=None, t=one)
        moved = loss(nets, x, real_only, AT, cfg)
        # Under a flip of the real images: the loss at images that were flipped before.
        assert moved.item() == pytest.approx(loss(nets, x.flip(3), plain, AT, cfg).item(), rel=1e-5)
    z = StyleInputs(z=plain.z, noise=None, t=one, t_fake=other)
    for loss in (critic, generator, merged):
        assert loss(nets, x, z, AT, cfg).item() != loss(nets, x, plain, AT, cfg).item()
    assert reciprocity(nets, x, z, AT, cfg).item() == reciprocity(nets, x, plain, AT, cfg).item()
    assert under.part(slice(0, 2), 4).t is not None


def test_phases_interpolate_no_image_where_none_is_warped(
    nets: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, cfg = torch.rand(4, 3, 8, 8) * 2 - 1, LossConfig()
    one = t_of(4, flip=1.0)
    r = StyleInputs(z=torch.randn(4, 8), noise=None, t=one, t_fake=one)
    losses = (critic, critic_with_r1, generator, merged)
    wanted = [loss(nets, x, r, AT, cfg).item() for loss in losses]
    monkeypatch.setattr(augment, "_warped", None)
    r = replace(r, warped=False)
    assert [loss(nets, x, r, AT, cfg).item() for loss in losses] == wanted


def test_merged_phases_still_recover_what_is_untransformed(nets: Networks) -> None:
    """The sum of phases II and III with one's E under T and the other's not."""
    nets = copy.deepcopy(nets).double()
    x, cfg = torch.rand(4, 3, 8, 8).double(), LossConfig()
    r = StyleInputs(z=torch.randn(4, 8).double(), noise=None, t_fake=t_of(4, turns=1.0))
    both = generator(nets, x, r, AT, cfg) + reciprocity(nets, x, r, AT, cfg)
    assert merged(nets, x, r, AT, cfg).item() == pytest.approx(both.item(), rel=1e-5)
    trained = [p for name, p in nets.named_parameters() if name[0] in "FG" and "noise" not in name]
    trained = [p for p in trained if p is not nets.G.to_rgb[0].weight]
    trained = [p for p in trained if p is not nets.G.to_rgb[0].bias]  # grown: it is not used
    wanted = torch.autograd.grad(
        generator(nets, x, r, AT, cfg)
        + reciprocity(nets, x, r, AT, LossConfig(reciprocity_trains_f=True)),
        trained,
    )
    found = torch.autograd.grad(merged(nets, x, r, AT, cfg), trained)
    for a, b in zip(wanted, found, strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


def test_r1_is_taken_through_t(nets: Networks) -> None:
    """Twice as bright a copy has a gradient twice as large: the penalty is four times."""
    x = torch.rand(4, 3, 8, 8)
    plain = StyleInputs(z=torch.randn(4, 8), noise=None)
    doubled = StyleInputs(z=plain.z, noise=None, t=t_of(4, log2_contrast=1.0))

    def penalty(x: Tensor, r: StyleInputs) -> Tensor:
        with_r1, without = (LossConfig(r1_gamma=g) for g in (10.0, 0.0))
        return critic_with_r1(nets, x, r, AT, with_r1) - critic_with_r1(nets, x, r, AT, without)

    assert penalty(x, doubled).item() == pytest.approx(4 * penalty(2 * x, plain).item(), rel=1e-4)


@pytest.mark.parametrize("bad", [{"p": 1.5}, {"target": 2.0}, {"rise_img": 0}])
def test_a_section_out_of_range_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"augment\."):
        AugmentConfig(**bad)
