"""Adversarial Generator-Encoder networks (Ulyanov et al. 2018), equations 8 and 9.

E brings the codes of images near the prior and those of G's images away from it; G brings the
latter back.  A divergence is that of a Gaussian of the batch's moments.
"""

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.age.config import AgeLossConfig
from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.statistics import frozen_statistics
from stylealae.families.common.variational import decoded
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["age_phases"]


def encoder(n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: AgeLossConfig) -> Tensor:
    """E: codes of images near the prior, of generated ones away, and images again.  -> []"""
    rows = n.rows(x)
    with torch.no_grad():  # G is not trained here
        generated = decoded(n, r.z).sigmoid()
    z = n.E(rows).z
    with frozen_statistics(n.E):
        z_generated = n.E(generated).z
    game = losses.moments_kl(z) - losses.moments_kl(z_generated)
    loss = losses.RECONSTRUCTIONS[cfg.reconstruction](decoded(n, z), rows).mean()
    return cfg.game_weight * game + cfg.reconstruction_weight * loss


def generator(n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: AgeLossConfig) -> Tensor:
    """G: images whose codes are near the prior, and are the ones that they were made of.  -> []"""
    with frozen_statistics(n.E):
        z = n.E(decoded(n, r.z).sigmoid()).z
    error = losses.squared_error(z, r.z).mean()
    return cfg.game_weight * losses.moments_kl(z) + cfg.code_weight * error


def age_phases(
    cfg: AgeLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, AgeLossConfig], ...]:
    """E, then G."""
    return (
        Phase("encoder", trains="E", loss=encoder),
        Phase("generator", trains="G", loss=generator),
    )
