"""Algorithm 1: who moves, who does not, and what is drawn."""

import pytest
import torch

from stylealae.config import LossConfig, ModelConfig
from stylealae.networks import LETTERS, build
from stylealae.phases import Chance, phases_of
from stylealae.schedule import Progress

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
AT = Progress(stage=2, alpha=0.5, batch=12, lr=0.001)


def chance(mine: slice, mixing_prob: float = 0.9) -> Chance:
    return Chance(seed=3, z_width=8, mixing_prob=mixing_prob, mine=mine, device=torch.device("cpu"))


def test_the_papers_letters():
    letters = {p.name: set(p.trains) for p in phases_of(LossConfig())}
    assert letters == {"critic": set("ED"), "generator": set("FG"), "reciprocity": set("EG")}
    released = phases_of(LossConfig(reciprocity_trains_f=True))
    assert set(released[2].trains) == set("FEG")


@pytest.mark.parametrize("released", [False, True])
def test_gradients_reach_every_trained_letter(released):
    cfg = LossConfig(reciprocity_trains_f=released)
    x = torch.randn(12, 3, 16, 16)
    for phase in phases_of(cfg):
        nets = build(SMALL)
        phase.loss(nets, x, chance(slice(0, 12)).draw(phase.name, 0, AT), AT, cfg).backward()
        for letter in LETTERS:
            has = [p.grad is not None for p in nets.grown(letter, AT)]
            if letter in phase.trains:
                assert all(has), (phase.name, letter)
            elif letter == "F" or phase.name == "critic":
                assert not any(has), (phase.name, letter)  # detached: costs no backward either


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_every_world_size_draws_the_same_batch(ranks):
    whole = chance(slice(0, 12)).draw("critic", 640, AT)
    n = 12 // ranks
    parts = [chance(slice(r * n, r * n + n)).draw("critic", 640, AT) for r in range(ranks)]
    for name in ("z", "z_other", "crossover"):
        joined = torch.cat([getattr(p, name) for p in parts])
        assert torch.equal(joined, getattr(whole, name))


def test_draws_are_addressed_by_purpose_and_moment():
    one = chance(slice(0, 12)).draw("critic", 640, AT).z
    assert torch.equal(one, chance(slice(0, 12)).draw("critic", 640, AT).z)
    assert not torch.equal(one, chance(slice(0, 12)).draw("generator", 640, AT).z)
    assert not torch.equal(one, chance(slice(0, 12)).draw("critic", 641, AT).z)


def test_crossovers_lie_inside_the_grown_layers():
    at = Progress(stage=2, alpha=1.0, batch=4000, lr=0.1)
    crossover = chance(slice(0, 4000)).draw("critic", 0, at).crossover
    assert set(crossover.tolist()) == {1, 2, 3, 4, 5, 6}
    assert (crossover < 6).float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert (chance(slice(0, 12), 0.0).draw("critic", 0, AT).crossover == 6).all()
