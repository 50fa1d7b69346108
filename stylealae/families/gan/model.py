"""The GAN, trained.

Legend: N batch, Z width of z, C channels, R resolution.
"""

import torch
from torch import Tensor

from stylealae.families.common.model import MlpModel
from stylealae.families.gan.config import GanModelConfig
from stylealae.families.gan.networks import Gan

__all__ = ["GanModel"]


class GanModel(MlpModel[Gan, GanModelConfig]):
    """A GAN: it only samples."""

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """Codes z.  -> [n, Z]"""
        return self.nets.prior.sample(n, source)

    @torch.no_grad()
    def images(
        self, latents: Tensor, alpha: float = 1.0, noise: torch.Generator | None = None
    ) -> Tensor:
        """The images of codes.  [N, Z] -> [N, C, R, R]"""
        return self.nets.images(self.nets.decode(latents.to(self.device)).sigmoid())
