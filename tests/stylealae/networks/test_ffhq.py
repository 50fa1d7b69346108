"""The whole FFHQ network, one image, at every resolution from 4x4 to 1024x1024."""

from collections.abc import Iterator

import pytest
import torch

from stylealae.api import StyleALAE
from stylealae.config import LossConfig, ModelConfig
from stylealae.networks import Networks, build
from stylealae.phase_inputs import StyleInputSampler
from stylealae.phases import phases_of
from stylealae.schedule import Progress

FFHQ = ModelConfig()


@pytest.fixture(scope="module")
def nets() -> Iterator[Networks]:
    """All 54.2 million parameters, on both threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield build(FFHQ)
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("stage", range(FFHQ.blocks))
def test_every_stage_trains_and_reconstructs(nets: Networks, stage: int) -> None:
    at = Progress(stage=stage, alpha=0.5 if stage else 1.0, batch=1, lr=0.001)
    x = torch.rand(1, 3, at.resolution, at.resolution) * 2 - 1
    sampler = StyleInputSampler(
        seed=0, z_width=512, mixing_prob=0.9, mine=slice(0, 1), device=torch.device("cpu")
    )
    for phase in phases_of(LossConfig()):
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
    m = StyleALAE(nets, FFHQ, torch.zeros(18, 512), stage=stage)
    again = m.reconstruct(x)
    assert again.shape == x.shape
    assert again.isfinite().all()
    nets.requires_grad_(True)
