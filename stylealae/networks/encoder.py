"""E: x -> w, the mirror of G: every layer gives up its instance statistics as a style.

Legend: N batch, C channels, R resolution, W width of w.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from stylealae.config import ModelConfig
from stylealae.ops.entrance import entered
from stylealae.ops.fused import destyled
from stylealae.ops.layers import (
    NEVER,
    DownConv2d,
    EqualConv2d,
    EqualLinear,
    mean2x2,
    recomputed,
)
from stylealae.ops.layout import laid_out
from stylealae.schedule import Growth

__all__ = ["Encoder"]

NORM_EPS = 1e-5


class StyleExit(nn.Module):
    """Takes the style out of the features: statistics to w, normalised features onwards."""

    def __init__(self, channels: int, w_width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.linear = EqualLinear(2 * channels, w_width)

    def forward(self, x: Tensor, *, blurred: bool = False) -> tuple[Tensor, Tensor]:
        """Features, blurred if `blurred`, and their style; x may be overwritten.

        [N, C, R, R] -> [N, C, R, R], [N, W]
        """
        x, style = destyled(x, self.bias, eps=NORM_EPS, blurred=blurred)  # style [N, 2C]
        return x, self.linear(style)


class Block(nn.Module):
    """One halving of the resolution; the last one goes from 4x4 to 2x2."""

    def __init__(self, channels: int, channels_out: int, w_width: int) -> None:
        super().__init__()
        self.conv_1 = EqualConv2d(channels, channels, 3)
        self.style_1 = StyleExit(channels, w_width)
        self.conv_2 = DownConv2d(channels, channels_out)
        self.style_2 = StyleExit(channels_out, w_width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Halved features, and their style.  [N, C, R, R] -> [N, C', R/2, R/2], [N, W]"""
        x = laid_out(x, x.shape[-1], x.shape[1])
        x, w_1 = self.style_1(self.conv_1(x), blurred=True)
        x, w_2 = self.style_2(self.conv_2(x))  # [N, C', R/2, R/2]
        return x, w_1 + w_2


class Encoder(nn.Module):
    """E: blocks[0] takes 4x4, counted like G's stages; from_rgb[k] is the entrance to blocks[k]."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.recompute_from = NEVER
        self.widths = widths = [cfg.width(stage) for stage in range(cfg.blocks)]
        outs = [widths[0], *widths]  # blocks[k] hands its features to blocks[k - 1]
        self.blocks = nn.ModuleList(
            Block(width, out, cfg.w_width) for width, out in zip(widths, outs, strict=False)
        )
        self.from_rgb = nn.ModuleList(
            EqualConv2d(cfg.channels, width, 1, bias=True) for width in widths
        )

    def enter(self, x: Tensor, stage: int) -> Tensor:
        """From-RGB and, as released, two leaky ReLUs.  [N, channels, R, R] -> [N, C, R, R]"""
        layer = cast(EqualConv2d, self.from_rgb[stage])
        return entered(laid_out(x, x.shape[-1], self.widths[stage]), layer)

    def forward(self, x: Tensor, at: Growth) -> Tensor:
        """The style of x: the sum of what every layer gives up.  [N, channels, R, R] -> [N, W]"""
        w, _ = self.with_features(x, at)
        return w

    def with_features(self, x: Tensor, at: Growth) -> tuple[Tensor, list[Tensor]]:
        """The style of x, and what leaves each block on the way to it, in each plane normalised.

        [N, channels, R, R] -> [N, W], stage + 1 of [N, C, R, R] from half of x's side to 2x2
        """
        features, w = self._block(at.stage)(self.enter(x, at.stage))
        if at.alpha < 1.0:
            features = torch.lerp(self.enter(mean2x2(x), at.stage - 1), features, at.alpha)
            w = w * at.alpha
        passed = [features]
        for k in range(at.stage - 1, -1, -1):
            features, styles = self._block(k)(features)
            w = w + styles
            passed.append(features)
        return w, passed

    def grown(self, at: Growth) -> list[nn.Module]:
        """The parts that forward uses at this growth."""
        first_rgb = at.stage if at.alpha >= 1.0 else at.stage - 1
        return [*self.blocks[: at.stage + 1], *self.from_rgb[first_rgb : at.stage + 1]]

    def _block(self, k: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        return recomputed(self.blocks[k], 4 << k >= self.recompute_from)
