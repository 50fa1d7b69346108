"""The GAN, trained.

Legend: C channels, R resolution.
"""

import torch
from torch import Tensor

from stylealae.families.common.config import PriorModelConfig
from stylealae.families.common.model import MlpModel
from stylealae.families.gan.networks import Gan
from stylealae.priors import rng

__all__ = ["GanModel"]


class GanModel(MlpModel[Gan, PriorModelConfig]):
    """A GAN: it only samples."""

    @torch.no_grad()
    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        z = self.nets.prior.sample(n, rng(seed, "sample", 0)).to(self.device)
        return self.nets.images(self.nets.decode(z).sigmoid())
