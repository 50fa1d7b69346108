"""ALAE's four networks on rows of pixels, trained by the phases of StyleALAE.

Legend: N batch, C channels, R resolution, P numbers in a row, Z and W widths.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from stylealae.families.alae.config import AlaeModelConfig
from stylealae.families.common.convolutional import Decoding, Encoding
from stylealae.families.common.networks import CentralCrop, hidden
from stylealae.families.common.posteriors import code_layer
from stylealae.networks.group import AlaeNetworks
from stylealae.ops.layers import EqualLinear, leaky_relu, pixel_norm
from stylealae.schedule import Growth

__all__ = ["AlaeMlp"]

LRMUL = 0.1
GREY_GAIN = 0.3
"""G begins with grey images, where tanh is not saturated."""


class LinearLayers(nn.Module):
    """Equalised linear layers with leaky ReLUs between; `gain` is the last one's."""

    def __init__(self, widths: Sequence[int], *, lrmul: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        gains = [2.0**0.5] * (len(widths) - 2) + [gain]
        self.layers = nn.ModuleList(
            EqualLinear(a, b, gain=gain, lrmul=lrmul)
            for (a, b), gain in zip(pairwise(widths), gains, strict=True)
        )

    def forward(self, h: Tensor) -> Tensor:
        """[N, first width] -> [N, last width]"""
        for k, layer in enumerate(self.layers):
            h = layer(leaky_relu(h) if k else h)
        return h


class Mapping(LinearLayers):
    """F: a prior sample to a style."""

    def forward(self, z: Tensor) -> Tensor:
        """[N, Z] -> [N, W]"""
        return super().forward(pixel_norm(z))


class LatentDiscriminator(LinearLayers):
    """D: a style to the logit of "this came from a real image"."""

    def forward(self, w: Tensor) -> Tensor:
        """[N, W] -> [N]"""
        return super().forward(w).squeeze(1)


class Encoder(LinearLayers):
    """E: an image to a style."""

    def __init__(self, cfg: AlaeModelConfig) -> None:
        super().__init__([cfg.pixels, *hidden(cfg), cfg.w_width])
        self.crop = CentralCrop(cfg)

    def forward(self, x: Tensor, at: Growth) -> Tensor:  # type: ignore[override]
        """[N, C, R, R] in [-1, 1] -> [N, W]"""
        return super().forward(self.crop.rows(x))


class Generator(LinearLayers):
    """G: a style to an image."""

    def __init__(self, cfg: AlaeModelConfig) -> None:
        super().__init__([cfg.w_width, *hidden(cfg), cfg.pixels], gain=GREY_GAIN)
        self.crop = CentralCrop(cfg)

    def forward(  # type: ignore[override]
        self, w: Tensor, at: Growth, noise: torch.Generator | None = None
    ) -> Tensor:
        """[N, W] -> [N, C, R, R], -1 to 1"""
        return self.crop.images(super().forward(w).tanh())


class ConvolutionalEncoder(nn.Module):
    """E: as `Encoder`, of the autoencoders' convolutions."""

    def __init__(self, cfg: AlaeModelConfig) -> None:
        super().__init__()
        self.crop = CentralCrop(cfg)
        self.features = Encoding(cfg, cfg.hidden)
        self.end = code_layer(cfg.hidden, cfg.w_width)

    def forward(self, x: Tensor, at: Growth) -> Tensor:
        """[N, C, R, R] in [-1, 1] -> [N, W]"""
        w: Tensor = self.end(self.features(self.crop.rows(x)))
        return w


class ConvolutionalGenerator(nn.Module):
    """G: as `Generator`, of the autoencoders' convolutions."""

    def __init__(self, cfg: AlaeModelConfig) -> None:
        super().__init__()
        self.crop = CentralCrop(cfg)
        self.rows = Decoding(cfg, cfg.w_width)

    def forward(self, w: Tensor, at: Growth, noise: torch.Generator | None = None) -> Tensor:
        """[N, W] -> [N, C, R, R], -1 to 1"""
        return self.crop.images(self.rows(w).tanh())


ENCODERS = {"linear": Encoder, "convolutional": ConvolutionalEncoder}
GENERATORS = {"linear": Generator, "convolutional": ConvolutionalGenerator}


class AlaeMlp(AlaeNetworks):
    """F: z -> w, G: w -> x, E: x -> w, D: w -> logit; nothing grows, G takes one style."""

    def __init__(self, cfg: AlaeModelConfig) -> None:
        super().__init__()
        inner = [cfg.mapping_hidden] * (cfg.mapping_layers - 1)
        self.F = Mapping([cfg.z_width, *inner, cfg.w_width], lrmul=LRMUL)
        self.G = GENERATORS[cfg.layers](cfg)
        self.E = ENCODERS[cfg.layers](cfg)
        self.D = LatentDiscriminator([cfg.w_width, *inner, 1], lrmul=LRMUL)
