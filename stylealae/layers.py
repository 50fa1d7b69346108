"""The layers that F, G, E and D are made of: equalised weights, resampling, instance statistics.

Legend: N batch, C channels, R resolution. Every layer is twice differentiable (R1 needs it).
"""

import math

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

__all__ = [
    "EqualConv2d",
    "EqualLinear",
    "blur",
    "instance_statistics",
    "leaky_relu",
    "mean2x2",
    "nearest2x",
    "pixel_norm",
    "std_of",
]

SLOPE = 0.2
STD_EPS = 1e-9


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with the paper's slope of 0.2.  [any] -> [same]"""
    return fn.leaky_relu(x, SLOPE)


def pixel_norm(z: Tensor) -> Tensor:
    """Each row of z divided by its root mean square.  [N, Z] -> [N, Z]"""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


def nearest2x(x: Tensor) -> Tensor:
    """Every pixel repeated as a 2x2 square.  [N, C, R, R] -> [N, C, 2R, 2R]"""
    return fn.interpolate(x, scale_factor=2, mode="nearest")


def mean2x2(x: Tensor) -> Tensor:
    """The mean of every 2x2 square.  [N, C, R, R] -> [N, C, R/2, R/2]"""
    return fn.avg_pool2d(x, 2)


def blur(x: Tensor) -> Tensor:
    """Depthwise [1 2 1] x [1 2 1] / 16 with zero padding.  [N, C, R, R] -> same"""
    tap = torch.tensor([1.0, 2.0, 1.0], device=x.device, dtype=x.dtype)
    kernel = (torch.outer(tap, tap) / 16.0).expand(x.shape[1], 1, 3, 3)
    return fn.conv2d(x, kernel, padding=1, groups=x.shape[1])


def instance_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every channel of every image.  [N, C, R, R] -> [N, C] twice

    Two plain means in float32: `torch.var_mean` is not vectorised on the CPU and takes ten times
    as long there.
    """
    flat = x.flatten(2).to(torch.promote_types(x.dtype, torch.float32))  # [N, C, R*R]
    mean = flat.mean(dim=2, keepdim=True)
    return mean.squeeze(2), (flat - mean).square().mean(dim=2)


def std_of(var: Tensor) -> Tensor:
    """Standard deviation with a gradient that stays finite at 0.  [any] -> [same]

    Departure: the released code takes the bare root, whose gradient is infinite for a constant
    channel; 1e-9 inside the root moves no published number and keeps a grey batch finite.
    """
    return torch.sqrt(var + STD_EPS)


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
        """X through the layer.  [N, fan_in] -> [N, fan_out]"""
        return fn.linear(x, self.weight * self.scale, self.bias * self.lrmul)


class EqualConv2d(nn.Module):
    """Square convolution with the equalised learning rate, on its own or fused with resampling.

    `down` (conv, then 2x2 mean) is a stride-2 convolution with the kernel averaged over four
    shifts, `up` (nearest 2x, then conv) a stride-2 transposed one with the kernel summed over
    them: the same function at 16 instead of 36 multiplications for every pixel pair.
    """

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
        """Plain convolution, zero padded.  [N, C, R, R] -> [N, C', R, R]"""
        padding = self.weight.shape[-1] // 2
        return fn.conv2d(x, self.weight * self.scale, self.bias, padding=padding)

    def down(self, x: Tensor) -> Tensor:
        """Convolution, then the mean of every 2x2 square.  [N, C, R, R] -> [N, C', R/2, R/2]"""
        return fn.conv2d(x, _four_shifts(self.weight * (self.scale / 4)), stride=2, padding=1)

    def up(self, x: Tensor) -> Tensor:
        """Nearest 2x, then convolution.  [N, C, R, R] -> [N, C', 2R, 2R]"""
        kernel = _four_shifts((self.weight * self.scale).flip(2, 3).transpose(0, 1))
        return fn.conv_transpose2d(x, kernel, stride=2, padding=1)


def _four_shifts(kernel: Tensor) -> Tensor:
    """The sum of a 3x3 kernel's four placements in a 4x4 one.  [O, I, 3, 3] -> [O, I, 4, 4]"""
    rows = fn.pad(kernel, (0, 0, 0, 1)) + fn.pad(kernel, (0, 0, 1, 0))  # [O, I, 4, 3]
    return fn.pad(rows, (0, 1)) + fn.pad(rows, (1, 0))
