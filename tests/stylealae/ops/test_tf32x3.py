"""A convolution of float32 in three of TF32, emulated on a CPU, against float64 and float32."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.tf32 import emulated
from stylealae.ops import tf32x3
from stylealae.ops.convolution import convolved
from stylealae.ops.precision import forward_of_r1

CHANNELS = tf32x3.CHANNELS


def given(channels: int = CHANNELS) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, channels, 8, 8), torch.randn(7, channels, 4, 4)


def test_high_and_low_parts_are_of_ten_bits_and_all_but_the_last_of_the_number():
    x, _ = given()
    high, low, again = tf32x3.of_features(x).chunk(3, 1)
    assert torch.equal(high, again)
    assert torch.equal(high, tf32x3.rounded(high))
    assert torch.equal(low, tf32x3.rounded(low))
    assert float(((high.double() + low - x) / x).abs().max()) <= 2**-22


def test_three_products_have_float32s_error_where_one_has_tf32s() -> None:
    x, weight = given()
    exact = convolved(x.double(), weight.double(), stride=2)

    def error(*, exact_forward: bool, split: bool) -> float:
        with emulated(exact_forward=exact_forward, split=split), forward_of_r1():
            y = convolved(x, weight, stride=2)
        return float((y - exact).norm() / exact.norm())

    one = error(exact_forward=False, split=False)
    three = error(exact_forward=True, split=True)
    plain = error(exact_forward=True, split=False)
    assert 1e-4 < one < 1e-3
    assert three < 2 * plain < 4e-6


def test_derivatives_are_those_of_the_plain_convolution_to_the_bit() -> None:
    found = []
    for split in (False, True):
        x, weight = (a.requires_grad_(True) for a in given())
        with emulated(exact_forward=True, split=split):
            with forward_of_r1():
                y = convolved(x, weight, stride=2)
            (grad,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            found.append((grad, *torch.autograd.grad(grad.square().sum(), weight)))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize(
    "change",
    [lambda x: x[:, : CHANNELS // 2], Tensor.double, Tensor.bfloat16],
    ids=["few channels", "float64", "half precision"],
)
def test_what_gains_nothing_by_it_is_convolved_as_it_is(change: Callable[[Tensor], Tensor]) -> None:
    x, _ = given()
    with emulated(exact_forward=True, split=True), forward_of_r1():
        assert tf32x3.pays(x)
        assert not tf32x3.pays(change(x))


def test_it_is_for_r1s_forward_pass_where_it_is_asked_for() -> None:
    x, _ = given()
    with emulated(exact_forward=True), forward_of_r1():
        assert not tf32x3.pays(x)
    with emulated(exact_forward=True, split=True):
        assert not tf32x3.pays(x)
    assert not tf32x3.pays(x)
