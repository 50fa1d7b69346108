"""Features that lie otherwise in memory are the same features."""

import pytest
import torch
from torch import Tensor

from stylealae.config import ModelConfig
from stylealae.losses import r1_penalty
from stylealae.networks import Networks, build
from stylealae.ops import layout
from stylealae.ops.blur import blur
from stylealae.ops.layout import is_channels_last
from stylealae.schedule import Growth

SMALL = ModelConfig(
    resolution=32, start_channels=4, max_channels=16, z_width=16, w_width=16, mapping_layers=2
)


def values_and_gradients(nets: Networks, at: Growth) -> list[Tensor]:
    """Images of styles, styles of these, and R1's gradient by E's weights."""
    w = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = [p for network in "GE" for p in nets.grown(network, at)]
    noise = torch.Generator().manual_seed(1)
    images = nets.G(w, at, noise)
    shown = images.detach().requires_grad_(True)
    penalty = r1_penalty(nets.D(nets.E(shown, at)), shown).sum() + nets.E(images, at).sum()
    grads = torch.autograd.grad(penalty, weights, allow_unused=True)
    return [images, *(g for g in grads if g is not None)]


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("stage", [2, 3])
def test_values_and_gradients_are_those_of_planes(
    stage: int, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, at = build(SMALL).double(), Growth(stage=stage, alpha=alpha)
    found = values_and_gradients(nets, at)
    assert is_channels_last(nets.E.enter(found[0], stage))
    monkeypatch.setattr(layout, "SIDES", ())
    plain = values_and_gradients(nets, at)
    assert not is_channels_last(nets.E.enter(plain[0], stage))
    for a, b in zip(found, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_blur_is_the_same_and_lies_as_its_input(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 16, 16).to(dtype)
    last = blur(x.contiguous(memory_format=torch.channels_last))
    assert is_channels_last(last)
    torch.testing.assert_close(last, blur(x))
