"""E and G learn to recover the styles of F: less of them is lost, and nothing else moves."""

import pytest
import torch
from torch import Tensor

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing import recovery
from stylealae.errors import DivergenceError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=3
)
IMAGES = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1


def model() -> StyleALAE:
    return StyleALAE(build(SMALL, 1), SMALL, torch.zeros(4, 8), stage=1)


def take(ids: Tensor) -> Tensor:
    return IMAGES[ids]


@torch.no_grad()
def lost(m: StyleALAE) -> float:
    """The share of the variance of other styles than those that were judged by."""
    w = m.styles(500, 11)
    return float((m.encode(m.generate(w)) - w).square().mean() / w.var(0).mean())


def test_less_of_the_styles_is_lost_and_images_come_back_as_before(monkeypatch):
    monkeypatch.setattr(recovery, "RATE", 0.01)
    m, done = model(), list[int]()
    found = m.recover(take, len(IMAGES), 60 * recovery.MOST, report=done.append)
    assert done == [recovery.MOST] * 60
    moved = m.with_recovery(found)
    assert found.after < 0.6 * found.before
    assert lost(moved) < 0.6 * lost(m)
    before, after = ((a.reconstruct(IMAGES) - IMAGES).abs().mean() for a in (m, moved))
    assert after < 1.05 * before


def test_the_same_seed_finds_the_same_and_e_and_g_alone_move():
    m = model()
    weights = {k: v.clone() for k, v in m.nets.state_dict().items()}
    once, again, other = (
        m.with_recovery(m.recover(take, len(IMAGES), 96, seed=seed)).nets.state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(once[k], again[k]) for k in once)
    assert not all(torch.equal(once[k], other[k]) for k in once)
    assert all(torch.equal(v, weights[k]) for k, v in m.nets.state_dict().items())
    assert {k[0] for k, v in once.items() if not torch.equal(v, weights[k])} == {"E", "G"}


@pytest.mark.parametrize(("stage", "batch"), [(1, 32), (7, 4)])
def test_a_step_has_fewer_images_where_they_are_large(stage, batch):
    asked = list[int]()

    def taken(ids: Tensor) -> Tensor:
        asked.append(len(ids))
        raise InterruptedError

    m = model()
    with pytest.raises(InterruptedError):
        recovery.recover(m.nets, taken, 40, 100, stage, 8)
    assert asked == [batch]


def test_images_that_are_no_numbers_are_an_error():
    with pytest.raises(DivergenceError, match="step 0 is nan"):
        model().recover(lambda ids: IMAGES[ids] * torch.nan, len(IMAGES), 40)
