"""Convolutions that can be differentiated twice at the cost of convolutions.

For the gradient of a gradient, which R1 takes in every layer of E, torch convolves images with
kernels as large as an image: three times slower on a CPU than the same arithmetic done as a
weight's gradient.  Here a convolution, its adjoint and its weight's gradient are each other's
derivatives, to any order (the idea of StyleGAN2-ADA's `conv2d_gradfix`).

Legend: N batch, I and O channels in and out, R resolution, k side of the kernel.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.ops import tf32x3
from stylealae.ops.layout import is_channels_last
from stylealae.ops.precision import tf32
from stylealae.ops.wanted import wanted_of

__all__ = ["convolved", "convolved_up"]

FEW_PIXELS = 64
"""For 4x4 to 2x2 at batch 4 oneDNN takes up to five times as long for it as a matrix product."""


def convolved(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """The convolution with padding (k - 1) // 2.  [N, I, R, R], [O, I, k, k] -> [N, O, R/s, R/s]"""
    return _apply(x, weight, stride, adjoint=False)


def convolved_up(x: Tensor, weight: Tensor) -> Tensor:
    """The adjoint of a stride-2 convolution.  [N, I, R, R], [I, O, 4, 4] -> [N, O, 2R, 2R]"""
    return _apply(x, weight, 2, adjoint=True)


def _apply(x: Tensor, weight: Tensor, stride: int, *, adjoint: bool) -> Tensor:
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
    out: Tensor = _Convolution.apply(x, weight, stride, adjoint)  # type: ignore[no-untyped-call]
    return out


class _Convolution(torch.autograd.Function):
    """Linear in x and in the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, adjoint: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = stride, adjoint
        if not adjoint and tf32x3.pays(x):
            x, weight = tf32x3.tripled(x, weight)
            with tf32(True):
                return fn.conv2d(x, weight, stride=stride, padding=_padding(weight))
        operation = fn.conv_transpose2d if adjoint else fn.conv2d
        return operation(x, weight, stride=stride, padding=_padding(weight))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, adjoint = ctx.how
        wanted = wanted_of(ctx)  # R1's first pass wants the images' gradient alone
        if not torch.is_grad_enabled():  # nobody differentiates this: both at once are cheaper
            return *_both(g, x, weight, stride, adjoint, wanted), None, None
        d_x = d_weight = None
        if wanted[0]:
            d_x = _Convolution.apply(g, weight, stride, not adjoint)  # type: ignore[no-untyped-call]
        if wanted[1]:
            d_weight = _WeightGradient.apply(g, x, weight, stride, adjoint)  # type: ignore[no-untyped-call]
        return d_x, d_weight, None, None


class _WeightGradient(torch.autograd.Function):
    """Linear in g and in x; of the weight it needs the shape alone."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, stride: int, adjoint: bool
    ) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.how = stride, adjoint
        found = _both(g, x, weight, stride, adjoint, (False, True))[1]
        assert found is not None
        return found

    @staticmethod
    def backward(ctx: Any, gg: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        stride, adjoint = ctx.how
        wanted = wanted_of(ctx)
        d_g = d_x = None
        if wanted[0]:
            d_g = _Convolution.apply(x, gg, stride, adjoint)  # type: ignore[no-untyped-call]
        if wanted[1]:
            d_x = _Convolution.apply(g, gg, stride, not adjoint)  # type: ignore[no-untyped-call]
        return d_g, d_x, None, None, None


def _both(
    g: Tensor, x: Tensor, weight: Tensor, stride: int, adjoint: bool, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of x and of the weight, those that are wanted."""
    found = _for_few_pixels(g, x, weight, stride, adjoint) if wanted[1] else None
    if found is None:
        return _gradients(g, x, weight, stride, adjoint, wanted)
    alone = (True, False)
    return _gradients(g, x, weight, stride, adjoint, alone)[0] if wanted[0] else None, found


def _gradients(
    g: Tensor, x: Tensor, weight: Tensor, stride: int, adjoint: bool, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    padding = [_padding(weight)] * 2
    d_x, d_weight, _ = torch.ops.aten.convolution_backward(
        g, x, weight, None, [stride] * 2, padding, [1, 1], adjoint, [0, 0], 1, [*wanted, False]
    )
    return d_x, d_weight


def _for_few_pixels(
    g: Tensor, x: Tensor, weight: Tensor, stride: int, adjoint: bool
) -> Tensor | None:
    """The weight's gradient as CPUs are faster with where pixels are few; None: they are not."""
    if x.device.type != "cpu":
        return None
    small, large = (x, g) if adjoint else (g, x)
    if stride == 2 and _is_few(small):
        return _as_product(small, large, weight)
    if is_channels_last(x) and weight.numel() >= x.numel():  # its own layout is what costs then
        return _gradients(g.contiguous(), x.contiguous(), weight, stride, adjoint, (False, True))[1]
    return None


def _is_few(small: Tensor) -> bool:
    """Whether a CPU is faster with a matrix product: up to so many pixels of all images."""
    return small.shape[0] * small.shape[2] * small.shape[3] <= FEW_PIXELS and not _has_amx()


@cache
def _has_amx() -> bool:
    """Whether the CPU is one of those that are faster with oneDNN's own: 1.4 times on an Intel."""
    return bool(torch.cpu._is_amx_tile_supported())


def _as_product(small: Tensor, large: Tensor, weight: Tensor) -> Tensor:
    """The weight's gradient of a stride-2 convolution from `large` to `small`, as one product.

    [N, O, R, R], [N, I, 2R, 2R], [O, I, 4, 4] -> [O, I, 4, 4]
    """
    patches = fn.unfold(large, weight.shape[-1], padding=1, stride=2)  # [N, I * 16, R * R]
    rows = small.flatten(2).transpose(0, 1).flatten(1)  # [O, N * R * R]
    return (rows @ patches.transpose(1, 2).flatten(0, 1)).view_as(weight)


def _padding(weight: Tensor) -> int:
    return (weight.shape[-1] - 1) // 2
