"""What families of Gaussian posteriors have in common: a draw from q(z|x) and the bound on it.

Legend: N batch, P numbers in a row, Z width of z.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from stylealae import losses
from stylealae.families.common.config import ReconstructionLossConfig
from stylealae.families.common.networks import Autoencoder
from stylealae.phase_inputs import CodeInputs

__all__ = ["Posterior", "decoded", "divergence", "drawn", "error"]


class Posterior(NamedTuple):
    """q(z|x) of a batch, and a draw from it; [N, Z] each."""

    z: Tensor
    mean: Tensor
    log_var: Tensor
    eps: Tensor
    """z in standard deviations from the mean."""


def drawn(n: Autoencoder, rows: Tensor, r: CodeInputs) -> Posterior:
    """E: a reparameterised draw from the Gaussian posterior.  [N, P] -> [N, Z] each"""
    mean, log_var = n.E.moments(rows)
    eps = torch.randn(mean.shape, generator=r.noise, device=rows.device)
    return Posterior(mean + (0.5 * log_var).exp() * eps, mean, log_var, eps)


def decoded(n: Autoencoder, z: Tensor) -> Tensor:
    """G without classes: logits of grey values.  [N, Z] -> [N, P]"""
    return n.decode(z, z.new_zeros(len(z), 0))


def divergence(n: Autoencoder, q: Posterior) -> Tensor:
    """KL(q(z|x) || p(z)), in closed form or from the draw.  [N, Z] each -> [N]"""
    return n.prior.kl(q.mean, q.log_var, q.eps)


def error(n: Autoencoder, q: Posterior, rows: Tensor, cfg: ReconstructionLossConfig) -> Tensor:
    """The weighted reconstruction error of rows from the draw.  [N, P] -> [N]"""
    loss = losses.RECONSTRUCTIONS[cfg.reconstruction](decoded(n, q.z), rows)
    return cfg.reconstruction_weight * loss
