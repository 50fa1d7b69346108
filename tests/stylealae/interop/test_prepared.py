"""G prepared for many pictures draws what G draws."""

import pytest
import torch

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.interop.prepared import PreparedGenerator
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_pictures_are_those_of_g(stage: int) -> None:
    m = StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2)
    w = torch.randn(3, 2 * (stage + 1), 8, generator=torch.Generator().manual_seed(0))
    G, given = PreparedGenerator(m.nets, stage), w.clone()
    for _ in range(2):  # the second time too: nothing of it was overwritten
        wanted = m.generate(w, stage, noise=False)
        torch.testing.assert_close(G(w), wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(w, given)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(G(w), m.generate(w, stage, noise=False), rtol=0.02, atol=0.02)
