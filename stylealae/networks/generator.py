"""G: w -> x, a StyleGAN synthesis network that grows from 4x4.

Legend: N batch, C channels, R resolution, W width of w, L layers (two a block).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from stylealae.config import ModelConfig
from stylealae.latents import per_layer
from stylealae.layers import (
    EqualConv2d,
    EqualLinear,
    blur,
    instance_statistics,
    leaky_relu,
    nearest2x,
)
from stylealae.schedule import Growth

__all__ = ["Generator"]

NORM_EPS = 1e-8
RGB_GAIN = 0.03


class StyledLayer(nn.Module):
    """What follows each convolution: noise, bias, leaky ReLU, instance norm, style."""

    def __init__(self, channels: int, w_width: int) -> None:
        super().__init__()
        self.noise_weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.affine = EqualLinear(w_width, 2 * channels, gain=1.0)

    def forward(self, x: Tensor, w: Tensor, noise: torch.Generator | None) -> Tensor:
        """X modulated by w; `noise` None means none.  [N, C, R, R], [N, W] -> [N, C, R, R]"""
        if noise is not None:
            # Departure: block 0's first noise is per image here, shared by the batch as released.
            grain = torch.randn(
                x.shape[0], 1, *x.shape[2:], generator=noise, device=x.device, dtype=x.dtype
            )
            x = torch.addcmul(x, self.noise_weight.to(x.dtype)[:, None, None], grain)
        x = leaky_relu(x + self.bias.to(x.dtype)[:, None, None])
        mean, var = instance_statistics(x)  # [N, C] each
        scale, shift = self.affine(w).chunk(2, dim=1)  # [N, C] each
        slope = torch.rsqrt(var + NORM_EPS) * (1 + scale)
        offset = shift - mean * slope
        # Norm and style in one pass: (x - mean) / std * (1 + scale) + shift
        return torch.addcmul(
            offset.to(x.dtype)[:, :, None, None], x, slope.to(x.dtype)[:, :, None, None]
        )


class FirstBlock(nn.Module):
    """4x4, from a learned constant."""

    def __init__(self, channels: int, w_width: int) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))
        self.layer_1 = StyledLayer(channels, w_width)
        self.conv_2 = EqualConv2d(channels, channels, 3)
        self.layer_2 = StyledLayer(channels, w_width)

    def forward(self, w: Tensor, noise: torch.Generator | None) -> Tensor:
        """The first features.  [N, 2, W] -> [N, C, 4, 4]"""
        x: Tensor = self.layer_1(self.const.expand(w.shape[0], -1, -1, -1), w[:, 0], noise)
        x = self.layer_2(self.conv_2(x), w[:, 1], noise)
        return x


class Block(nn.Module):
    """One doubling of the resolution."""

    def __init__(self, channels_in: int, channels: int, w_width: int) -> None:
        super().__init__()
        self.conv_1 = EqualConv2d(channels_in, channels, 3)
        self.layer_1 = StyledLayer(channels, w_width)
        self.conv_2 = EqualConv2d(channels, channels, 3)
        self.layer_2 = StyledLayer(channels, w_width)

    def forward(self, x: Tensor, w: Tensor, noise: torch.Generator | None) -> Tensor:
        """Features at twice the resolution.  [N, C, R, R], [N, 2, W] -> [N, C', 2R, 2R]"""
        x = self.layer_1(blur(self.conv_1.up(x)), w[:, 0], noise)  # [N, C', 2R, 2R]
        x = self.layer_2(self.conv_2(x), w[:, 1], noise)
        return x


class Generator(nn.Module):
    """G: blocks[0] is 4x4, to_rgb[k] shows the features of blocks[k]."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.layers = 2 * cfg.blocks
        widths = [cfg.width(stage) for stage in range(cfg.blocks)]
        self.blocks = nn.ModuleList([FirstBlock(widths[0], cfg.w_width)])
        for width_in, width in pairwise(widths):
            self.blocks.append(Block(width_in, width, cfg.w_width))
        self.to_rgb = nn.ModuleList(
            EqualConv2d(width, cfg.channels, 1, gain=RGB_GAIN, bias=True) for width in widths
        )

    def forward(self, w: Tensor, at: Growth, noise: torch.Generator | None = None) -> Tensor:
        """The image of w.  [N, W] or [N, L, W] -> [N, channels, R, R], about -1 to 1"""
        w = per_layer(w, 2 * (at.stage + 1))  # [N, L, W]
        x = self.blocks[0](w[:, :2], noise)
        before = x
        for k in range(1, at.stage + 1):
            before, x = x, self.blocks[k](x, w[:, 2 * k : 2 * k + 2], noise)
        rgb: Tensor = self.to_rgb[at.stage](x)
        if at.alpha < 1.0:
            rgb = torch.lerp(nearest2x(self.to_rgb[at.stage - 1](before)), rgb, at.alpha)
        return rgb

    def grown(self, at: Growth) -> list[nn.Module]:
        """The parts that forward uses at this growth."""
        first_rgb = at.stage if at.alpha >= 1.0 else at.stage - 1
        return [*self.blocks[: at.stage + 1], *self.to_rgb[first_rgb : at.stage + 1]]
