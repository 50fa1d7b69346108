"""Every derivative of a convolution against torch's own, in float64."""

import pytest
import torch
import torch.nn.functional as fn
from torch.utils._python_dispatch import TorchDispatchMode

from stylealae.ops.convolution import convolved, convolved_up

CASES = {
    "3x3": (lambda x, w: convolved(x, w), lambda x, w: fn.conv2d(x, w, padding=1), 3),
    "1x1": (lambda x, w: convolved(x, w), fn.conv2d, 1),
    "down": (
        lambda x, w: convolved(x, w, stride=2),
        lambda x, w: fn.conv2d(x, w, stride=2, padding=1),
        4,
    ),
    "up": (
        lambda x, w: convolved_up(x, w.transpose(0, 1)),
        lambda x, w: fn.conv_transpose2d(x, w.transpose(0, 1), stride=2, padding=1),
        4,
    ),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [4, 6, 34], ids=["fewest pixels", "few", "many"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_torchs(case, side, layout):
    ours, theirs, k = CASES[case]
    x = torch.randn(2, 3, side, side, dtype=torch.float64).contiguous(memory_format=layout)
    x.requires_grad_(True)
    w = torch.randn(4, 3, k, k, dtype=torch.float64, requires_grad=True)
    found = []
    for convolution in (ours, theirs):
        y = convolution(x, w).sin()
        first = torch.autograd.grad(y.square().sum(), (x, w), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, w))
        found.append([y, *first, *second])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("case", CASES)
def test_second_derivatives_are_right(case):
    ours, _, k = CASES[case]
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 2, k, k, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(ours, (x, w))


class GradientsTaken(TorchDispatchMode):
    """What convolutions' backward passes give: the image's gradient, the weight's, or both."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func == torch.ops.aten.convolution_backward.default:
            self.found.append(tuple(args[-1][:2]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("asked", ["x", "w", "both"])
@pytest.mark.parametrize("leaf", [True, False])
def test_gradients_that_nobody_asks_for_are_not_computed(asked, leaf):
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    w = torch.randn(2, 2, 3, 3, requires_grad=True)
    y = convolved(x, w if leaf else w * 2).square().sum()
    with GradientsTaken() as taken:
        if asked == "both":
            y.backward()
        else:
            torch.autograd.grad(y, x if asked == "x" else w)
    assert taken.found == [(asked != "w", asked != "x")]


def test_the_gradient_that_r1_takes_leaves_weights_aside():
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    w = torch.randn(2, 2, 3, 3, requires_grad=True)
    logit = convolved(convolved(x, w).sin(), w).sum()
    with GradientsTaken() as taken:
        (grad,) = torch.autograd.grad(logit, x, create_graph=True)
    assert not any(weight for _, weight in taken.found)
    grad.square().sum().backward()
    assert w.grad is not None


def test_autocast_computes_in_half_and_keeps_the_weights_gradient_in_float32():
    x = torch.randn(1, 2, 4, 4)
    w = torch.randn(2, 2, 3, 3, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = convolved(x, w)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert w.grad is not None
    assert w.grad.dtype == torch.float32
