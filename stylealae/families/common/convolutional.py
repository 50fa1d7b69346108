"""A small convolutional pair: what takes and makes images where `model.layers` is convolutional.

Images are rows of pixels on both ends, as of MLPs, so that a family's phases know no difference.

Legend: N batch, P numbers of an image, A numbers beside them, H features, Z width of what is
decoded, C channels, S side of the smallest feature map.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from stylealae.families.common.config import MlpConfig
from stylealae.ops.layers import leaky_relu

__all__ = ["Decoding", "Encoding"]

SMALLEST = 4
"""Side of a feature map that is not halved any more."""


class Encoding(nn.Module):
    """Convolutions of stride 2 down to S x S, and a linear layer to features."""

    def __init__(self, cfg: MlpConfig, features: int, beside: int = 0) -> None:
        super().__init__()
        self.shape, self.pixels = (cfg.channels, cfg.side, cfg.side), cfg.pixels
        smallest, channels = _maps(cfg)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(channels)
        )
        self.end = nn.Linear(channels[-1] * smallest**2 + beside, features)
        for layer in (*self.convolutions, self.end):
            _draw(layer)

    def forward(self, rows: Tensor) -> Tensor:
        """The features of images with what stands beside them.  [N, P + A] -> [N, H]"""
        x, beside = rows.tensor_split([self.pixels], 1)
        x = x.reshape(-1, *self.shape)
        for layer in self.convolutions:
            x = leaky_relu(layer(x))
        h: Tensor = leaky_relu(self.end(torch.cat((x.flatten(1), beside), 1)))
        return h


class Decoding(nn.Module):
    """Its mirror image: a linear layer to S x S, and transposed convolutions up from there."""

    def __init__(self, cfg: MlpConfig, width: int) -> None:
        super().__init__()
        smallest, channels = _maps(cfg)
        self.shape = (channels[-1], smallest, smallest)
        self.begin = nn.Linear(width, channels[-1] * smallest**2)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(channels[::-1])
        )
        for layer in (self.begin, *self.convolutions):
            _draw(layer)
        last = self.convolutions[-1]
        assert isinstance(last, nn.ConvTranspose2d)
        nn.init.normal_(last.weight, std=0.02)  # begins with images that are almost even grey

    def forward(self, z: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z] -> [N, P]"""
        x = self.begin(z).view(-1, *self.shape)
        for layer in self.convolutions:
            x = layer(leaky_relu(x))
        row: Tensor = x.flatten(1)
        return row


def _maps(cfg: MlpConfig) -> tuple[int, list[int]]:
    """S, and the channels from the image's to those of S x S."""
    side, channels = cfg.side, [cfg.channels]
    while side > SMALLEST and side % 2 == 0:
        channels.append(cfg.start_channels << (len(channels) - 1))
        side //= 2
    return side, channels


def _draw(layer: nn.Module) -> None:
    """Weights of He's variance, 2 over the numbers that an output is a sum of; biases of 0."""
    if isinstance(layer, nn.ConvTranspose2d):
        inputs = layer.in_channels * 4  # of 16 places of the kernel, stride 2 meets a quarter
    elif isinstance(layer, nn.Conv2d):
        inputs = layer.in_channels * 16
    else:
        assert isinstance(layer, nn.Linear)
        inputs = layer.in_features
    nn.init.normal_(layer.weight, std=(2.0 / inputs) ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
