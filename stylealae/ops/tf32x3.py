"""A convolution of float32 as one of TF32 with three times the channels: 3xTF32, as CUTLASS has it.

A float32 is the sum of two numbers of TF32's 10 bits, but for its last bits.  Of the four products
of two such sums the least is left out; the other three are added up in float32, as one sum over
channels that are there three times.  Tensor cores take TF32 several times as fast as float32.

Legend: N batch, I and O channels in and out, R resolution, k side of the kernel.
"""

import torch
from torch import Tensor

from stylealae.ops import precision
from stylealae.ops.compiler import compiled, fuses

__all__ = ["pays", "rounded", "tripled"]

DROPPED = 13
"""Of the 23 bits of a float32's fraction."""
CHANNELS = 64
"""From which on the arithmetic that is spared outweighs the passes over memory that it takes."""


def pays(x: Tensor) -> bool:
    """Whether x [N, I, R, R] is to be convolved so: where it is asked for and steps are fused."""
    wide = x.dtype == torch.float32 and x.shape[1] >= CHANNELS
    return wide and precision.splits_float32() and fuses(x)


def tripled(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """What is convolved in their place, with three times the channels in.

    [N, I, R, R], [O, I, k, k] -> [N, 3I, R, R], [O, 3I, k, k]
    """
    return compiled(of_features, (x,)), compiled(of_weight, (weight,))


def of_features(x: Tensor) -> Tensor:
    """High, low and high parts, which meet those of `of_weight`.  [N, I, R, R] -> [N, 3I, R, R]"""
    high, low = _parts(x)
    return torch.cat((high, low, high), 1)


def of_weight(weight: Tensor) -> Tensor:
    """High, high and low parts.  [O, I, k, k] -> [O, 3I, k, k]"""
    high, low = _parts(weight)
    return torch.cat((high, high, low), 1)


def rounded(x: Tensor) -> Tensor:
    """The nearest numbers with a fraction of 10 bits, halves away from zero.  float32 -> float32"""
    bits = x.contiguous().view(torch.int32) + (1 << (DROPPED - 1))
    return (bits & -(1 << DROPPED)).view(torch.float32)


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    high = rounded(x)
    return high, rounded(x - high)
