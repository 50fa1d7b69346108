"""IntroVAE (Huang et al. 2018), Algorithm 1: E tells generated images by their divergence.

Real images have codes near the prior, generated ones at a margin from it; G makes images whose
codes are near.  Generated are reconstructions and samples.

Legend: N batch, P numbers in a row.
"""

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.statistics import frozen_statistics
from stylealae.families.common.variational import decoded, divergence, drawn, error
from stylealae.families.intro_vae.config import IntroLossConfig
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["intro_vae_phases"]


def encoder(n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: IntroLossConfig) -> Tensor:
    """E: a VAE's bound, and generated images at a margin from the prior.  -> []"""
    rows = n.rows(x)
    q = drawn(n, rows, r)
    with torch.no_grad():  # G is not trained here
        generated = _generated(n, q.z, r)
    with frozen_statistics(n.E):
        distance = divergence(n, drawn(n, generated, r))
    push = 2.0 * fn.relu(cfg.margin - distance).mean()  # two generated images a real one
    return (error(n, q, rows, cfg) + divergence(n, q)).mean() + cfg.game_weight * push


def generator(n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: IntroLossConfig) -> Tensor:
    """G: reconstructions, and generated images whose codes are near the prior.  -> []"""
    rows = n.rows(x)
    with torch.no_grad():  # E is not trained here
        q = drawn(n, rows, r)
    with frozen_statistics(n.E):
        distance = divergence(n, drawn(n, _generated(n, q.z, r), r))
    pull = 2.0 * distance.mean()  # two generated images a real one
    return error(n, q, rows, cfg).mean() + cfg.game_weight * pull


def _generated(n: Autoencoder, z: Tensor, r: CodeInputs) -> Tensor:
    """Reconstructions of codes z, then samples.  [N, Z] -> [2N, P]"""
    return decoded(n, torch.cat((z, r.z))).sigmoid()


def intro_vae_phases(
    cfg: IntroLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, IntroLossConfig], ...]:
    """E, then G."""
    return (
        Phase("encoder", trains="E", loss=encoder),
        Phase("generator", trains="G", loss=generator),
    )
