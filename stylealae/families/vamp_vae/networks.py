"""The networks of the VAE with the VampPrior.

Legend: K pseudo-inputs, P numbers in a row.
"""

import torch
from torch import Tensor, nn

from stylealae.families.common.networks import Autoencoder
from stylealae.families.vamp_vae.config import VampModelConfig
from stylealae.priors import Gaussians, Prior

__all__ = ["VampVae"]


class PseudoInputs(nn.Module):
    """U: images that are weights; they begin dark, each in its own way."""

    def __init__(self, cfg: VampModelConfig) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(cfg.pseudo_inputs, cfg.pixels) - 2.0)

    def forward(self) -> Tensor:
        """The images.  -> [K, P] in [0, 1]"""
        return self.logits.sigmoid()


class VampVae(Autoencoder):
    """E: x -> z, G: z -> x, and U, the images whose posteriors are the prior."""

    networks = "EGU"

    def __init__(self, cfg: VampModelConfig) -> None:
        super().__init__(cfg)
        self.U = PseudoInputs(cfg)

    @property
    def prior(self) -> Prior:
        """The mean of q(z|u) over the pseudo-inputs u."""
        mean, log_var = self.E.moments(self.U())
        return Gaussians(mean.shape[1], mean=mean, log_var=log_var)
