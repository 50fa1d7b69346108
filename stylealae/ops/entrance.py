"""From-RGB, E's entrance, in one pass on GPUs: a 1x1 convolution of few channels, bias, leaky ReLU.

A convolution of an image's three channels is almost nothing but the writing of its result, which
bias and leaky ReLU would read and write again, and at 1024x1024 there is no larger tensor.  Here a
number of the result, and of a derivative, is computed where it is written, in float32.

Where nothing is fused (`ops.compiler.fuse`), as on CPUs, it is the layer and the leaky ReLU.

Legend: N batch, K channels of an image, C of the features, R resolution.  `g` is the gradient of
the features, `h` that of an image's gradient.
"""

from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylealae.ops.compiler import compiled, fuses
from stylealae.ops.formulas import SLOPE, rows, wide
from stylealae.ops.layers import EqualConv2d
from stylealae.ops.wanted import wanted_of

__all__ = ["entered"]

BOTH = SLOPE * SLOPE
"""As released, two leaky ReLUs: the two in one."""


def entered(x: Tensor, layer: EqualConv2d) -> Tensor:
    """An image's features: from-RGB and two leaky ReLUs.  [N, K, R, R] -> [N, C, R, R]"""
    if not fuses(x) or layer.bias is None:
        return fn.leaky_relu_(layer(x), BOTH)
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    out: Tensor = _Entered.apply(x, layer.weight.flatten(), layer.bias, layer.scale)  # type: ignore[no-untyped-call]
    return out


class _Entered(torch.autograd.Function):
    """Twice differentiable by the image, as R1 needs it; by the weight by torch's own rules."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.scale = scale
        return compiled(from_image, (x, weight, bias), scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight, bias), scale = ctx.saved_tensors, ctx.scale
        given = g.contiguous(), x, weight, bias
        image, *layer = wanted_of(ctx)
        d_x = d_weight = d_bias = None
        if image:
            d_x = _ToImage.apply(*given, scale)  # type: ignore[no-untyped-call]
        if any(layer) and torch.is_grad_enabled():
            d_weight, d_bias = to_layer(*given, scale)
        elif any(layer):
            d_weight, d_bias = compiled(to_layer, given, scale)
        return d_x, d_weight, d_bias, None


class _ToImage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, bias: Tensor, scale: float
    ) -> Tensor:
        ctx.save_for_backward(g, x, weight, bias)
        ctx.scale = scale
        return compiled(to_image, (g, x, weight, bias), scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h: Tensor) -> tuple[Tensor | None, ...]:
        given = (*ctx.saved_tensors, h.contiguous())
        d_g, d_weight = compiled(to_image_again, given, ctx.scale)
        return d_g, None, d_weight, None, None


def from_image(x: Tensor, weight: Tensor, bias: Tensor, scale: float) -> Tensor:
    """The features; the weight is [C * K], so that its length is no batch."""
    return fn.leaky_relu(_before(x, weight, bias, scale), BOTH).to(x.dtype)


def to_image(g: Tensor, x: Tensor, weight: Tensor, bias: Tensor, scale: float) -> Tensor:
    """The image's gradient."""
    d, columns = _before_kink(g, x, weight, bias, scale), _columns(weight, x.shape[1], scale)
    return torch.stack([(d * w).sum(1).to(g.dtype) for w in columns], 1)


def to_layer(
    g: Tensor, x: Tensor, weight: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The gradients of the weight and of the bias."""
    d = _before_kink(g, x, weight, bias, scale)
    found = _summed([*_products(d, x), d])  # [K + 1, C]
    return found[:-1].t().flatten() * scale, found[-1]


def to_image_again(
    g: Tensor, x: Tensor, weight: Tensor, bias: Tensor, h: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The gradients that `to_image` hands to g and to the weight."""
    to_g = _before_kink(_to_channels(h, weight, scale), x, weight, bias, scale).to(g.dtype)
    d = _before_kink(g, x, weight, bias, scale)
    return to_g, _summed(_products(d, h)).t().flatten() * scale


def _before(x: Tensor, weight: Tensor, bias: Tensor, scale: float) -> Tensor:
    """What goes into the leaky ReLU."""
    return _to_channels(x, weight, scale) + wide(bias)[:, None, None]


def _columns(weight: Tensor, channels: int, scale: float) -> list[Tensor]:
    """The weights of each of an image's channels.  [C * K] -> K of [C, 1, 1]"""
    return [w[:, None, None] * scale for w in wide(weight).view(-1, channels).unbind(1)]


def _to_channels(x: Tensor, weight: Tensor, scale: float) -> Tensor:
    """The 1x1 convolution.  [N, K, R, R] -> [N, C, R, R], in float32"""
    columns = _columns(weight, x.shape[1], scale)
    y = wide(x[:, :1]) * columns[0]
    for k in range(1, len(columns)):
        y = y + wide(x[:, k : k + 1]) * columns[k]
    return y


def _products(d: Tensor, x: Tensor) -> list[Tensor]:
    """The product of d with each of an image's channels.  -> K of [N, C, R, R]"""
    return [d * wide(x[:, k : k + 1]) for k in range(x.shape[1])]


def _summed(parts: list[Tensor]) -> Tensor:
    """The sums over images and pixels, the last of them of all parts at once.  -> [parts, C]"""
    return torch.stack([rows(part) for part in parts]).sum((1, 3))


def _before_kink(d: Tensor, x: Tensor, weight: Tensor, bias: Tensor, scale: float) -> Tensor:
    """A gradient times the leaky ReLU's slope.

    Which slope it is, is computed again from the image, which has a few channels to be read where
    the features have many.
    """
    d = wide(d)
    return torch.where(_before(x, weight, bias, scale) > 0, d, BOTH * d)
