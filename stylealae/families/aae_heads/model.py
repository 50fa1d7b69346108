"""The dimensionality-reducing AAE, trained.

Legend: N batch, C channels, R resolution, Z width of z, K classes.
"""

import torch
from torch import Tensor

from stylealae.families.aae_classes.model import ClassModel
from stylealae.families.aae_heads.networks import HeadsAae

__all__ = ["HeadsModel"]


class HeadsModel(ClassModel[HeadsAae]):
    """An autoencoder that reduces images to a few numbers."""

    @property
    def heads(self) -> Tensor:
        """The heads of the classes [K, Z]."""
        return self.nets.heads

    @torch.no_grad()
    def reduce(self, x: Tensor) -> Tensor:
        """The representation of an image: style and class's head.  [N, C, R, R] -> [N, Z]"""
        code = self.nets.E(self.nets.rows(x.to(self.device)))
        return self.nets.representation(code.z, code.y.softmax(1))
