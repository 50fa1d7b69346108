"""The linear layer of one matrix product, against the layer that it stands for."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from stylealae.ops import compiler
from stylealae.ops.layers import EqualLinear
from stylealae.ops.linear import linear

N, I, O = 4, 6, 5  # noqa: E741 - as the module's legend has it


@pytest.fixture(autouse=True)
def _off_in_the_end() -> Iterator[None]:
    yield
    compiler.fuse("off")


def with_gradients(layer: EqualLinear, x: Tensor, *, penalised: bool) -> list[Tensor]:
    """The result, and the gradients of x, weight and bias, of R1's kind if `penalised`."""
    torch.manual_seed(1)
    x = x.clone().requires_grad_(True)
    y = layer(x)
    loss = (y * torch.randn_like(y)).tanh().sum()
    if penalised:
        (grad,) = torch.autograd.grad(loss, x, create_graph=True)
        loss = loss + (grad * torch.randn_like(grad)).tanh().sum()
    return [y.detach(), *torch.autograd.grad(loss, [x, layer.weight, layer.bias])]


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("lrmul", [1.0, 0.1])
def test_one_product_gives_what_the_scaled_weight_gives(penalised, lrmul):
    torch.manual_seed(0)
    layer = EqualLinear(I, O, lrmul=lrmul).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(N, I, dtype=torch.float64)
    plain = with_gradients(layer, x, penalised=penalised)
    compiler.fuse("on")
    for ours, other in zip(with_gradients(layer, x, penalised=penalised), plain, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


def test_derivatives_of_every_order_are_those_of_finite_differences():
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((N, I), (O, I), O)
    )

    def steps(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear(x, weight, bias, scale=0.3, rate=0.1).tanh()

    assert torch.autograd.gradcheck(steps, (x, weight, bias))
    assert torch.autograd.gradgradcheck(steps, (x, weight, bias))


def test_autocast_rounds_nothing_on_the_way_there_or_back():
    layer = EqualLinear(I, O)
    x = torch.randn(N, I)
    exact = with_gradients(layer, x, penalised=True)
    compiler.fuse("on")
    with torch.autocast("cpu", torch.bfloat16):
        found = with_gradients(layer, x, penalised=True)
    for ours, other in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, other)
