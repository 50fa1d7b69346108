"""The variational autoencoder (Kingma and Welling 2014): one bound."""

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.common.config import CodeLossConfig
from stylealae.families.common.networks import Autoencoder
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["vae_phases"]


def elbo(n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: CodeLossConfig) -> Tensor:
    """E and G: reconstruction, and KL(q(z|x) || p(z)) in closed form or from one draw.  -> []"""
    mean, log_var = n.E.moments(n.rows(x))
    eps = torch.randn(mean.shape, generator=r.noise, device=x.device)
    z = mean + (0.5 * log_var).exp() * eps
    logits = n.decode(z, z.new_zeros(len(z), 0))
    loss = losses.RECONSTRUCTIONS[cfg.reconstruction](logits, n.rows(x)).mean()
    return cfg.reconstruction_weight * loss + n.prior.kl(mean, log_var, eps).mean()


def vae_phases(
    cfg: CodeLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, CodeLossConfig], ...]:
    """The one phase."""
    return (Phase("elbo", trains="EG", loss=elbo),)
