"""Soft-IntroVAE (Daniel and Tamar 2021), Algorithm 1: E lowers exp of the bound of what G makes.

The bound of an image is minus its energy, `error` and divergence; everything is divided by the
numbers P of an image, so that the exponential has a slope.

Legend: N batch, P numbers in a row, Z width of z.
"""

import torch
from torch import Tensor

from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.statistics import frozen_statistics
from stylealae.families.common.variational import Posterior, decoded, divergence, drawn, error
from stylealae.families.soft_intro_vae.config import SoftIntroLossConfig
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["soft_intro_vae_phases"]


def encoder(
    n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: SoftIntroLossConfig
) -> Tensor:
    """E: the bound up on real images, its exponential down on generated ones.  -> []"""
    rows = n.rows(x)
    q = drawn(n, rows, r)
    energy = error(n, q, rows, cfg) + cfg.kl_weight * divergence(n, q)
    with torch.no_grad():  # G is not trained here
        generated = decoded(n, torch.cat((q.z, r.z))).sigmoid()
    with frozen_statistics(n.E):
        q_generated = drawn(n, generated, r)
    energy_generated = error(n, q_generated, generated, cfg)
    energy_generated = energy_generated + cfg.generated_kl_weight * divergence(n, q_generated)
    pixels = rows.shape[1]
    down: Tensor = 0.5 * (-2.0 * energy_generated / pixels).exp()
    return energy.mean() / pixels + down.mean()


def generator(
    n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: SoftIntroLossConfig
) -> Tensor:
    """G: reconstructions, and generated images of a high bound.  -> []"""
    rows = n.rows(x)
    with torch.no_grad():  # E is not trained here
        q = drawn(n, rows, r)
    generated = decoded(n, torch.cat((q.z, r.z))).sigmoid()
    with frozen_statistics(n.E):
        q_generated = drawn(n, generated, r)
    fixed = Posterior(*(t.detach() for t in q_generated))  # G does not learn by moving the codes
    again = error(n, fixed, generated.detach(), cfg)
    pull = cfg.kl_weight * divergence(n, q_generated) + cfg.again_weight * again
    return (error(n, q, rows, cfg).mean() + pull.mean()) / rows.shape[1]


def soft_intro_vae_phases(
    cfg: SoftIntroLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, SoftIntroLossConfig], ...]:
    """E, then G."""
    return (
        Phase("encoder", trains="E", loss=encoder),
        Phase("generator", trains="G", loss=generator),
    )
