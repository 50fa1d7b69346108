"""F: z -> w and D: w -> logit, two stacks of fully connected layers with a slow learning rate.

Legend: N batch, Z and W widths.
"""

from itertools import pairwise

from torch import Tensor, nn

from stylealae.config import ModelConfig
from stylealae.ops.layers import EqualLinear, leaky_relu, pixel_norm

__all__ = ["LatentDiscriminator", "Mapping"]

LRMUL = 0.1
D_LAYERS = 3


class Mapping(nn.Module):
    """F: a prior sample to a style."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        widths = [cfg.z_width] + [cfg.w_width] * cfg.mapping_layers
        self.layers = nn.ModuleList(EqualLinear(a, b, lrmul=LRMUL) for a, b in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        """The style of z.  [N, Z] -> [N, W]"""
        w = pixel_norm(z)
        for layer in self.layers:
            w = leaky_relu(layer(w))
        return w


class LatentDiscriminator(nn.Module):
    """D: a style to the logit of "this came from a real image".

    As released: no activation between the layers, and a last layer 2W wide of which one number
    is the logit.
    """

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.w_width = cfg.w_width
        widths = [cfg.w_width] * D_LAYERS + [2 * cfg.w_width]
        self.layers = nn.ModuleList(EqualLinear(a, b, lrmul=LRMUL) for a, b in pairwise(widths))

    def forward(self, w: Tensor) -> Tensor:
        """The logit of w.  [N, W] -> [N]"""
        for layer in self.layers:
            w = layer(w)
        return w[:, self.w_width]
