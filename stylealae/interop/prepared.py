"""G prepared for many pictures of one stage: final weights, no derivatives, no noise.

G proper scales and folds its weights anew for every picture, as training must: a sixth of the time
of a 256x256 picture on a CPU.

Legend: N batch, C channels, R resolution, L layers, W width of w.
"""

import torch
from torch import Tensor, nn

from stylealae.interop.portable import PlainGenerator
from stylealae.networks import Networks
from stylealae.networks.generator import NORM_EPS
from stylealae.ops import fused

__all__ = ["PreparedGenerator"]


class PreparedGenerator(PlainGenerator):
    """G at one stage, from a copy of its weights.  [N, L, W] -> [N, C, R, R]"""

    def __init__(self, nets: Networks, stage: int) -> None:
        super().__init__(nets, stage)
        self.blur = Blur()
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, w: Tensor) -> Tensor:
        """The image of w."""
        return super().forward(w)

    def _styled(self, x: Tensor, w: Tensor, layer: int) -> Tensor:
        scale, shift = self.styles[layer](w[:, layer]).chunk(2, dim=1)  # [N, C] each
        bias = self.biases[layer]
        return fused.styled(x, bias, scale, shift, noise=None, noise_weight=bias, eps=NORM_EPS)


class Blur(nn.Module):
    """Depthwise [1 2 1] x [1 2 1] / 16 in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, R, R] -> same"""
        return fused.blur(x)
