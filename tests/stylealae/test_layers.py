"""Layers against their plain definitions, in float64."""

import pytest
import torch
import torch.nn.functional as fn

from stylealae import layers
from stylealae.layers import EqualConv2d, EqualLinear


@pytest.mark.parametrize("side", [4, 6, 16])
def test_fused_down_is_convolution_then_mean(side):
    conv = EqualConv2d(3, 5, 3).double()
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(conv.down(x), fn.avg_pool2d(conv(x), 2))


@pytest.mark.parametrize("side", [2, 4, 9])
def test_fused_up_is_nearest_then_convolution(side):
    conv = EqualConv2d(3, 5, 3).double()
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    torch.testing.assert_close(conv.up(x), conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3)))


def test_blur_is_the_binomial_kernel_with_zero_padding():
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 0, 2] = 16.0
    out = layers.blur(x)
    assert out[0, 0].abs().max() == 0
    assert out[0, 1, :2, 1:4].tolist() == [[2, 4, 2], [1, 2, 1]]


def test_statistics_are_torchs_own():
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64) + 5
    mean, var = layers.instance_statistics(x)
    torch.testing.assert_close(mean, x.mean((2, 3)))
    torch.testing.assert_close(var, x.var((2, 3), correction=0))


def test_the_learning_rate_is_equalised():
    torch.manual_seed(0)
    linear = EqualLinear(400, 300, lrmul=0.1)
    assert linear.weight.std().item() == pytest.approx(10.0, rel=0.02)
    out = linear(torch.randn(500, 400))
    assert out.std().item() == pytest.approx(2**0.5, rel=0.02)  # He's gain, whatever lrmul


@pytest.mark.parametrize("layer", ["down", "up", "forward"])
def test_second_derivatives_are_right(layer):
    conv = EqualConv2d(2, 2, 3).double()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(getattr(conv, layer), x)
