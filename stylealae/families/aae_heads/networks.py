"""The networks of the dimensionality-reducing AAE (Makhzani et al. 2015, section 7).

Legend: N batch, P numbers in a row, Z width of z, K classes.
"""

import torch
from torch import Tensor, nn

from stylealae.families.aae_classes.config import ClassCriticModelConfig
from stylealae.families.aae_classes.networks import ClassAae

__all__ = ["HeadsAae"]


class HeadsAae(ClassAae):
    """G takes the sum of z and of the class's head, a point in the space of z."""

    def __init__(self, cfg: ClassCriticModelConfig) -> None:
        super().__init__(cfg, class_inputs=0)
        self.class_inputs, self.G = cfg.classes, Headed(cfg, self.G)

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z], [N, K] -> [N, P]"""
        logits: Tensor = self.G(self.representation(z, y)).float()
        return logits

    def representation(self, z: Tensor, y: Tensor) -> Tensor:
        """Style and head, added.  [N, Z], [N, K] -> [N, Z]"""
        return z + y @ self.heads

    @property
    def heads(self) -> Tensor:
        """The heads of the classes [K, Z]."""
        assert isinstance(self.G, Headed)
        return self.G.heads


class Headed(nn.Module):
    """G with the heads that belong to it."""

    def __init__(self, cfg: ClassCriticModelConfig, net: nn.Module) -> None:
        super().__init__()
        self.heads = nn.Parameter(torch.randn(cfg.classes, cfg.z_width))
        self.net = net

    def forward(self, representation: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z] -> [N, P]"""
        logits: Tensor = self.net(representation)
        return logits
