"""The blur beside every change of resolution: depthwise [1 2 1] x [1 2 1] / 16, zero padded.

Where `ops.compiler.fuse` has said so, as on GPUs, it goes through torch's compiler.

Legend: N batch, C channels, R resolution.
"""

import torch
import torch.nn.functional as fn
from torch import Tensor
from torch.autograd.function import FunctionCtx

from stylealae.ops import compiled
from stylealae.ops.compiler import fuses
from stylealae.ops.layout import is_channels_last

__all__ = ["blur"]

WEIGHTS = [[down * right / 16 for right in (1, 2, 1)] for down in (1, 2, 1)]
FEW_PIXELS = 1 << 10
"""Of a plane, up to which a CPU blurs by a convolution: 6 times as fast at 4x4, 1.7 at 32x32."""
TILE = 1 << 17
"""Numbers summed at a time, which stay in a CPU's cache."""


def blur(x: Tensor) -> Tensor:
    """Depthwise [1 2 1] x [1 2 1] / 16 with zero padding.  [N, C, R, R] -> same"""
    if fuses(x):
        out: Tensor = compiled.Blurred.apply(x)  # type: ignore[no-untyped-call]
        return out
    out = _Blur.apply(x)  # type: ignore[no-untyped-call]
    return out


class _Blur(torch.autograd.Function):
    """Its own adjoint, so every derivative of it is a blur again."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or _suits_onednn(x):
            kernel = _kernel(x).expand(x.shape[1], 1, 3, 3)
            return fn.conv2d(x, kernel, padding=1, groups=x.shape[1])
        return _blur_on_cpu(x)

    @staticmethod
    def backward(ctx: FunctionCtx, g: Tensor) -> Tensor:
        out: Tensor = _Blur.apply(g)  # type: ignore[no-untyped-call]
        return out


def _kernel(x: Tensor) -> Tensor:
    """The 3x3 weights, where x is and as it is stored."""
    if x.device.type == "cpu":
        return x.new_tensor(WEIGHTS)
    # Made on the GPU: the host would wait for a copy of it.
    tap = 2.0 - torch.arange(-1.0, 2.0, device=x.device, dtype=x.dtype).abs()  # [1, 2, 1]
    return torch.outer(tap, tap) / 16


def _suits_onednn(x: Tensor) -> bool:
    """Whether a depthwise convolution is faster on a CPU than sums."""
    small = x.dtype == torch.float32 and x.shape[2] * x.shape[3] <= FEW_PIXELS
    return small or is_channels_last(x)


def _blur_on_cpu(x: Tensor) -> Tensor:
    """Four sums of neighbours, [1 1] twice along each axis, over planes padded by zeros."""
    n, c, height, width = x.shape
    planes, out = x.reshape(n * c, height, width), torch.empty_like(x).view(n * c, height, width)
    row = width + 2
    count = max(1, min(len(planes), TILE // ((height + 2) * row)))
    dtype = torch.promote_types(x.dtype, torch.float32)
    padded = torch.zeros(count, height + 2, row, dtype=dtype)
    one, other = torch.empty_like(padded), torch.empty_like(padded)
    p, a, b = padded.view(-1), one.view(-1), other.view(-1)
    for start in range(0, len(planes), count):
        part = planes[start : start + count]
        padded[: len(part), 1:-1, 1:-1] = part
        torch.add(p[:-row], p[row:], out=a[:-row])  # rows
        torch.add(a[: -2 * row], a[row:-row], out=b[: -2 * row])
        torch.add(b[:-1], b[1:], out=a[:-1])  # columns; what crosses an edge lies in the padding
        torch.add(a[:-2], a[1:-1], out=b[:-2])
        out[start : start + count] = other[: len(part), :height, :width].mul_(1 / 16)
    return out.view_as(x)
