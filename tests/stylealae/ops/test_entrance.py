"""From-RGB in one pass, against the convolution and the leaky ReLU that it stands for."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from stylealae.ops import compiler, entrance
from stylealae.ops.layers import EqualConv2d

N, C = 3, 5


@pytest.fixture(autouse=True)
def _formulas_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The formulas without a compiler: their mathematics."""
    monkeypatch.setattr(torch, "compile", lambda formula, **_: formula)
    yield
    compiler.fuse("off")


def with_gradients(x: Tensor, layer: EqualConv2d, *, penalised: bool) -> list[Tensor]:
    """The features, and the gradients of image, weight and bias, of R1's kind if `penalised`."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_(True)
    y = entrance.entered(x, layer)
    loss = (y * torch.randn_like(y)).tanh().sum()
    if penalised:
        (grad,) = torch.autograd.grad(loss, x, create_graph=True)
        loss = loss + (grad * torch.randn_like(grad)).tanh().sum()
    inputs = [x, layer.weight, layer.bias]
    return [y.detach(), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [4, 12], ids=["small planes", "by rows"])
def test_one_pass_gives_what_the_layer_and_its_leaky_relu_give(penalised, channels, side):
    torch.manual_seed(0)
    layer = EqualConv2d(channels, C, 1, bias=True).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(N, channels, side, side, dtype=torch.float64)
    plain = with_gradients(x, layer, penalised=penalised)
    compiler.fuse("on")
    for ours, other in zip(with_gradients(x, layer, penalised=penalised), plain, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


def test_weights_can_be_asked_for_with_a_graph_too():
    """Not what R1 does, but a derivative that is not there must not be a wrong one."""
    torch.manual_seed(0)
    layer = EqualConv2d(3, C, 1, bias=True).double()
    x = torch.randn(N, 3, 4, 4, dtype=torch.float64)
    found = []
    for mode in ("off", "on"):
        compiler.fuse(mode)
        y = entrance.entered(x, layer)
        loss = y.square().tanh().sum()
        (grad,) = torch.autograd.grad(loss, layer.weight, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), [layer.weight, layer.bias]))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(other, ours, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_features_are_in_half_precision_and_so_is_the_image(dtype):
    layer = EqualConv2d(3, C, 1, bias=True)
    x = torch.randn(N, 3, 12, 12)
    compiler.fuse("on")
    with torch.autocast("cpu", dtype):
        fused = entrance.entered(x, layer)
    assert fused.dtype == dtype
    exact = entrance.entered(x.to(dtype).float(), layer)
    torch.testing.assert_close(fused.float(), exact, rtol=0.01, atol=0.01)
