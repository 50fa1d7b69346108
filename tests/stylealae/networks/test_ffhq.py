"""The whole FFHQ network, one image, from 4x4 to 1024x1024.

It is trained at every second resolution: while a stage fades in, the entrances of the stage before
are updated too, so that no parameter is left out.  At the others it reconstructs.  All phases are
tried at 4x4 and 64x64; elsewhere the one that trains E and G, as F and D see styles alone.
"""

import pytest
import torch

from stylealae.api import StyleALAE
from stylealae.config import LossConfig, ModelConfig
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress

FFHQ = ModelConfig()
TRAINED = range(0, FFHQ.blocks, 2)
BY_ALL = (0, 4)


def fading(stage: int) -> Progress:
    """Half-way into a stage's fade."""
    return Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=1, lr=0.001)


@pytest.fixture(scope="module")
def nets() -> Networks:
    """All 54.2 million parameters."""
    return build(FFHQ)


def test_the_trained_stages_have_every_parameter(nets: Networks) -> None:
    trained = {
        p for s in TRAINED for network in Networks.networks for p in nets.grown(network, fading(s))
    }
    assert trained == set(nets.parameters())


@pytest.mark.early
@pytest.mark.parametrize(
    "stage", [*TRAINED[:-1], pytest.param(TRAINED[-1], marks=pytest.mark.slow)]
)
def test_phases_train_with_finite_gradients(nets: Networks, stage: int) -> None:
    at = fading(stage)
    x = torch.rand(1, 3, at.resolution, at.resolution) * 2 - 1
    sampler = StyleInputSampler(
        seed=0, z_width=512, mixing_prob=0.9, mine=slice(0, 1), device=torch.device("cpu")
    )
    for phase in (p for p in phases_of(LossConfig()) if stage in BY_ALL or p.trains == "EG"):
        for network in Networks.networks:
            for p in nets.grown(network, at):
                p.requires_grad_(network in phase.trains)
        loss = phase.loss(nets, x, sampler.draw(phase.name, 0, at), at, LossConfig())
        loss.backward()
        assert loss.isfinite(), phase.name
        for network in phase.trains:
            grads = [p.grad for p in nets.grown(network, at)]
            assert all(g is not None and bool(g.isfinite().all()) for g in grads), phase.name
        nets.zero_grad()
    nets.requires_grad_(True)


@pytest.mark.early
@pytest.mark.parametrize("stage", [s for s in range(FFHQ.blocks) if s not in TRAINED])
def test_the_other_stages_reconstruct(nets: Networks, stage: int) -> None:
    x = torch.rand(1, 3, 4 << stage, 4 << stage) * 2 - 1
    again = StyleALAE(nets, FFHQ, torch.zeros(18, 512), stage=stage).reconstruct(x)
    assert again.shape == x.shape
    assert again.isfinite().all()
