"""The layers that F, G, E and D are made of: equalised weights, resampling.

Legend: N batch, C channels, R resolution. Every layer is twice differentiable (R1 needs it).
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as fn
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stylealae.ops.compiler import FusedAsNow, fuses
from stylealae.ops.convolution import convolved, convolved_up
from stylealae.ops.fused import SLOPE
from stylealae.ops.linear import linear
from stylealae.ops.precision import full_precision, same_again

__all__ = [
    "NEVER",
    "DownConv2d",
    "EqualConv2d",
    "EqualLinear",
    "UpConv2d",
    "leaky_relu",
    "mean2x2",
    "nearest2x",
    "pixel_norm",
    "recomputed",
]

T = TypeVar("T")

NEVER = 1 << 30
"""A resolution that no network reaches."""


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with the paper's slope of 0.2.  [any] -> [same]"""
    return fn.leaky_relu(x, SLOPE)


def pixel_norm(z: Tensor) -> Tensor:
    """Each row of z divided by its root mean square.  [N, Z] -> [N, Z]"""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


def nearest2x(x: Tensor) -> Tensor:
    """Every pixel repeated as a 2x2 square.  [N, C, R, R] -> [N, C, 2R, 2R]"""
    with full_precision(x):  # CUDA's autocast would give float32
        return fn.interpolate(x, scale_factor=2, mode="nearest")


def mean2x2(x: Tensor) -> Tensor:
    """The mean of every 2x2 square.  [N, C, R, R] -> [N, C, R/2, R/2]"""
    return fn.avg_pool2d(x, 2)


class EqualLinear(nn.Module):
    """Linear layer with the equalised learning rate (Karras et al. 2018, section 4.1).

    The stored weight is N(0, 1) / lrmul and is used as weight * gain / sqrt(fan_in) * lrmul.
    """

    def __init__(
        self, fan_in: int, fan_out: int, *, gain: float = math.sqrt(2.0), lrmul: float = 1.0
    ) -> None:
        super().__init__()
        self.scale = gain / math.sqrt(fan_in) * lrmul
        self.lrmul = lrmul
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lrmul)
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output of x.  [N, fan_in] -> [N, fan_out]"""
        if fuses(x) and x.ndim == 2:
            return linear(x, self.weight, self.bias, scale=self.scale, rate=self.lrmul)
        bias = self.bias if self.lrmul == 1.0 else self.bias * self.lrmul
        return fn.linear(x, self.weight * self.scale, bias)


class EqualConv2d(nn.Module):
    """Square convolution with the equalised learning rate, zero padded."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        gain: float = math.sqrt(2.0),
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.scale = gain / math.sqrt(channels_in * kernel * kernel)
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The convolution.  [N, C, R, R] -> [N, C', R, R]"""
        x = convolved(x, self.weight * self.scale)
        return x if self.bias is None else x.add_(self.bias[:, None, None])


class DownConv2d(EqualConv2d):
    """Convolution, then the mean of every 2x2 square: one stride-2 convolution.

    Its 4x4 kernel is the mean of the 3x3 kernel's four shifts: the same function at 16 instead of
    36 multiplications for every output.
    """

    shifts: Tensor

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3)
        self.register_buffer("shifts", _four_shifts() * (self.scale / 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Half the resolution.  [N, C, R, R] -> [N, C', R/2, R/2]"""
        return convolved(x, _shifted(self.weight, self.shifts), stride=2)


class UpConv2d(EqualConv2d):
    """Nearest 2x, then convolution: one stride-2 transposed convolution.

    Its 4x4 kernel is the sum of the mirrored 3x3 kernel's four shifts: 16 instead of 36
    multiplications for every input.
    """

    shifts: Tensor

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3)
        self.register_buffer("shifts", _four_shifts().flip(0) * self.scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Twice the resolution.  [N, C, R, R] -> [N, C', 2R, 2R]"""
        return convolved_up(x, _shifted(self.weight, self.shifts).transpose(0, 1))


def _four_shifts() -> Tensor:
    """[9, 16]: a 3x3 kernel to the sum of its four placements in a 4x4 one."""
    corner = torch.eye(9).view(9, 3, 3)
    return torch.stack([
        fn.pad(corner, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)
    ]).sum(0).flatten(1)  # fmt: skip


def _shifted(kernel: Tensor, shifts: Tensor) -> Tensor:
    """A kernel's placements summed, as a matrix product.  [O, I, 3, 3] -> [O, I, 4, 4]"""
    with full_precision(kernel):  # rounded once, by the convolution
        return (kernel.reshape(-1, 9) @ shifts).view(*kernel.shape[:2], 4, 4)


def recomputed(block: Callable[..., T], on: bool) -> Callable[..., T]:
    """The block; if `on`, one that keeps its input alone and computes the rest once more backwards.

    Saves memory for about a third more time (activation checkpointing, Chen et al. 2016).
    """
    if not on:
        return block
    return partial(
        checkpoint, block, use_reentrant=False, preserve_rng_state=False, context_fn=_same_again
    )


def _same_again() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a pass now, and for the same pass when it is computed again: as precise, and as fused."""
    now, again = same_again()
    return now, _Both(again, FusedAsNow())


class _Both:
    """Two contexts in one, entered as often as they may be."""

    def __init__(self, a: AbstractContextManager[None], b: AbstractContextManager[None]) -> None:
        self._a, self._b = a, b

    def __enter__(self) -> None:
        self._a.__enter__()
        self._b.__enter__()

    def __exit__(self, *error: object) -> None:
        self._b.__exit__(None, None, None)
        self._a.__exit__(None, None, None)
