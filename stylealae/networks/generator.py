"""G: w -> x, a StyleGAN synthesis network that grows from 4x4.

Legend: N batch, C channels, R resolution, W width of w, L layers (two a block).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from stylealae.config import ModelConfig
from stylealae.latents import per_layer
from stylealae.ops.fused import styled
from stylealae.ops.layers import NEVER, EqualConv2d, EqualLinear, UpConv2d, nearest2x, recomputed
from stylealae.ops.layout import laid_out
from stylealae.schedule import Growth

__all__ = ["Generator"]

NORM_EPS = 1e-8
RGB_GAIN = 0.03

LayerNoise = tuple[Tensor | None, Tensor | None]
"""The noise of two layers."""
LayerStyles = Sequence[Tensor]
"""The styles of two layers, [N, W] each."""


class StyledLayer(nn.Module):
    """What follows each convolution: noise, bias, leaky ReLU, instance norm, style."""

    def __init__(self, channels: int, w_width: int) -> None:
        super().__init__()
        self.noise_weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.affine = EqualLinear(w_width, 2 * channels, gain=1.0)

    def forward(
        self, x: Tensor, w: Tensor, noise: Tensor | None, *, blurred: bool = False
    ) -> Tensor:
        """Features x, which may be overwritten, modulated by w; blurred before if `blurred`.

        [N, C, R, R], [N, W], [N, 1, R, R] -> [N, C, R, R]
        """
        scale, shift = self.affine(w).chunk(2, dim=1)  # [N, C] each
        return styled(
            x, self.bias, scale, shift, noise=noise, noise_weight=self.noise_weight, eps=NORM_EPS,
            blurred=blurred,
        )  # fmt: skip


class FirstBlock(nn.Module):
    """4x4, from a learned constant."""

    def __init__(self, channels: int, w_width: int) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))
        self.layer_1 = StyledLayer(channels, w_width)
        self.conv_2 = EqualConv2d(channels, channels, 3)
        self.layer_2 = StyledLayer(channels, w_width)

    def forward(self, w: LayerStyles, noise: LayerNoise) -> Tensor:
        """The first features.  Two of [N, W] -> [N, C, 4, 4]"""
        x: Tensor = self.layer_1(self.const.repeat(len(w[0]), 1, 1, 1), w[0], noise[0])
        x = self.layer_2(self.conv_2(x), w[1], noise[1])
        return x


class Block(nn.Module):
    """One doubling of the resolution."""

    def __init__(self, channels_in: int, channels: int, w_width: int) -> None:
        super().__init__()
        self.conv_1 = UpConv2d(channels_in, channels)
        self.layer_1 = StyledLayer(channels, w_width)
        self.conv_2 = EqualConv2d(channels, channels, 3)
        self.layer_2 = StyledLayer(channels, w_width)

    def forward(self, x: Tensor, w: LayerStyles, noise: LayerNoise) -> Tensor:
        """Features at twice the resolution.  [N, C, R, R], two of [N, W] -> [N, C', 2R, 2R]"""
        x = laid_out(x, 2 * x.shape[-1], self.conv_1.weight.shape[0])
        x = self.layer_1(self.conv_1(x), w[0], noise[0], blurred=True)  # [N, C', 2R, 2R]
        x = self.layer_2(self.conv_2(x), w[1], noise[1])
        return x


class Generator(nn.Module):
    """G: blocks[0] is 4x4, to_rgb[k] shows the features of blocks[k]."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.layers = 2 * cfg.blocks
        self.recompute_from = NEVER
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
        styles = w.unbind(1)  # L of [N, W], whose gradients are put together once
        x = self.blocks[0](styles[:2], _layer_noise(w, 0, noise))
        before = x
        for k in range(1, at.stage + 1):
            run = recomputed(self.blocks[k], 4 << k >= self.recompute_from)
            before, x = x, run(x, styles[2 * k : 2 * k + 2], _layer_noise(w, k, noise))
        rgb: Tensor = self.to_rgb[at.stage](x)
        if at.alpha < 1.0:
            rgb = torch.lerp(nearest2x(self.to_rgb[at.stage - 1](before)), rgb, at.alpha)
        return rgb

    def grown(self, at: Growth) -> list[nn.Module]:
        """The parts that forward uses at this growth."""
        first_rgb = at.stage if at.alpha >= 1.0 else at.stage - 1
        return [*self.blocks[: at.stage + 1], *self.to_rgb[first_rgb : at.stage + 1]]


def _layer_noise(w: Tensor, stage: int, noise: torch.Generator | None) -> LayerNoise:
    """The noise of a block's two layers, [N, 1, R, R] each; None means none.

    Departure: block 0's first noise is per image here, shared by the batch as released.
    """
    if noise is None:
        return None, None
    shape = (w.shape[0], 1, 4 << stage, 4 << stage)
    dtype = torch.promote_types(w.dtype, torch.float32)
    one, other = (
        torch.randn(shape, generator=noise, device=w.device, dtype=dtype) for _ in range(2)
    )
    return one, other
