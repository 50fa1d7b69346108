"""VAE/GAN (Larsen et al. 2016), Algorithm 1: an autoencoder's error in the features of D.

E minimises prior and error, G error and what D makes of its images, D tells images from both
reconstructions and samples.
"""

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.common.discriminators import penalised
from stylealae.families.common.variational import decoded, divergence, drawn
from stylealae.families.vae_gan.config import VaeGanLossConfig
from stylealae.families.vae_gan.networks import VaeGan
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["vae_gan_phases"]


def encoder(n: VaeGan, x: Tensor, r: CodeInputs, at: Growth, cfg: VaeGanLossConfig) -> Tensor:
    """E: codes near the prior that keep what D sees.  -> []"""
    rows = n.rows(x)
    q = drawn(n, rows, r)
    again = n.features(decoded(n, q.z).sigmoid())
    loss = cfg.kl_weight * divergence(n, q)
    return (loss + cfg.feature_weight * _unlikeness(again, n.features(rows))).mean()


def generator(n: VaeGan, x: Tensor, r: CodeInputs, at: Growth, cfg: VaeGanLossConfig) -> Tensor:
    """G: reconstructions that D sees as the image, and images that D takes for real.  -> []"""
    rows = n.rows(x)
    with torch.no_grad():  # E and D are not trained here
        z, wanted = drawn(n, rows, r).z, n.features(rows)
    again, sampled = n.features(decoded(n, torch.cat((z, r.z))).sigmoid()).chunk(2)
    deceit = losses.adversarial(-n.verdict(again)) + losses.adversarial(-n.verdict(sampled))
    return (cfg.style_weight * _unlikeness(again, wanted) + deceit).mean()


def critic(n: VaeGan, x: Tensor, r: CodeInputs, at: Growth, cfg: VaeGanLossConfig) -> Tensor:
    """D: images against reconstructions and samples, kept smooth by R1 on the images.  -> []"""
    rows = n.rows(x)
    with torch.no_grad():  # E and G are not trained here
        z = torch.cat((drawn(n, rows, r).z, r.z))
        generated = decoded(n, z).sigmoid()
    return penalised(n.judge, rows, generated, cfg.r1_gamma)


def _unlikeness(features: Tensor, wanted: Tensor) -> Tensor:
    """-log N(features; wanted, 1), but for its constant.  [N, H] twice -> [N]"""
    return 0.5 * (features.float() - wanted.float()).square().sum(1)


def vae_gan_phases(
    cfg: VaeGanLossConfig, iteration: int = 0
) -> tuple[Phase[VaeGan, CodeInputs, VaeGanLossConfig], ...]:
    """E, G, then D."""
    return (
        Phase("encoder", trains="E", loss=encoder),
        Phase("generator", trains="G", loss=generator),
        Phase("critic", trains="D", loss=critic, rate=cfg.critic_rate, double_backward=True),
    )
