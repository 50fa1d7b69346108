"""A linear layer whose scale is a factor of its matrix product, in float32 on GPUs.

A style's layers are small: what they cost is launches, and most of those scaled a weight, cast it
to half precision and cast its gradient back.  cuBLAS multiplies by a number on the way, and float32
(TF32, where that is allowed) needs no casts.  Derivatives nobody asks for are not computed.

Legend: N batch, I and O numbers in and out.
"""

from typing import Any

import torch
from torch import Tensor

from stylealae.ops.formulas import wide
from stylealae.ops.precision import full_precision
from stylealae.ops.wanted import wanted_of

__all__ = ["linear"]


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, scale: float, rate: float) -> Tensor:
    """A linear layer: x weight scale + bias rate.  [N, I], [O, I], [O] -> [N, O]"""
    out: Tensor = _Linear.apply(wide(x), weight, bias, scale, rate)  # type: ignore[no-untyped-call]
    return out


class _Linear(torch.autograd.Function):
    """Differentiable to any order."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, scale: float, rate: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = scale, rate
        with full_precision(x):
            return torch.addmm(bias, x, weight.t(), beta=rate, alpha=scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (scale, rate) = ctx.saved_tensors, ctx.how
        to_x, to_weight, to_bias = wanted_of(ctx)
        d_x = _product(g, weight, scale) if to_x else None
        d_weight = _product(g.t(), x, scale) if to_weight else None
        d_bias = g.sum(0) if to_bias else None
        if d_bias is not None and rate != 1.0:
            d_bias = d_bias * rate
        return d_x, d_weight, d_bias, None, None


class _Product(torch.autograd.Function):
    """Linear in both."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.scale = scale
        with full_precision(a):
            return torch.addmm(a.new_empty(()), a, b, beta=0.0, alpha=scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        to_a, to_b = wanted_of(ctx)
        d_a = _product(g, b.t(), ctx.scale) if to_a else None
        return d_a, _product(a.t(), g, ctx.scale) if to_b else None, None


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """[N, I], [I, O] -> [N, O]"""
    out: Tensor = _Product.apply(a, b, scale)  # type: ignore[no-untyped-call]
    return out
