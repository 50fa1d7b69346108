"""Layers against their plain definitions, in float64."""

import pytest
import torch
import torch.nn.functional as fn

from stylealae.ops.layers import DownConv2d, EqualConv2d, EqualLinear, UpConv2d


def of_the_same_weight(kind):
    """A resampling convolution, and the plain one with its weight."""
    made, plain = kind(3, 5).double(), EqualConv2d(3, 5, 3).double()
    plain.load_state_dict(made.state_dict())
    return made, plain


@pytest.mark.parametrize("side", [4, 6, 16])
def test_down_is_convolution_then_mean(side):
    down, conv = of_the_same_weight(DownConv2d)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(down(x), fn.avg_pool2d(conv(x), 2))


@pytest.mark.parametrize("side", [2, 4, 9])
def test_up_is_nearest_then_convolution(side):
    up, conv = of_the_same_weight(UpConv2d)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(up(x), conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3)))


def test_the_learning_rate_is_equalised():
    torch.manual_seed(0)
    linear = EqualLinear(400, 300, lrmul=0.1)
    assert linear.weight.std().item() == pytest.approx(10.0, rel=0.02)
    out = linear(torch.randn(500, 400))
    assert out.std().item() == pytest.approx(2**0.5, rel=0.02)  # He's gain, whatever lrmul


@pytest.mark.parametrize("conv", [DownConv2d(2, 2), UpConv2d(2, 2), EqualConv2d(2, 2, 3)])
def test_second_derivatives_are_right(conv):
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(conv.double(), x)
