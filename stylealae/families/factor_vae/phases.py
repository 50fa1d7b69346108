"""FactorVAE (Kim and Mnih 2018): a VAE's bound, and the total correlation of its codes.

D tells codes from codes whose numbers were dealt out anew, each on its own; at its optimum its
logit is log q(z) / prod q(z_j), whose mean over codes is the total correlation.

Legend: N batch, Z width of z.
"""

import torch
from torch import Tensor

from stylealae.families.aae.networks import Aae
from stylealae.families.common.phases import discrimination
from stylealae.families.common.variational import divergence, drawn, error
from stylealae.families.factor_vae.config import FactorLossConfig
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["dealt", "factor_vae_phases"]


def autoencoder(n: Aae, x: Tensor, r: CodeInputs, at: Growth, cfg: FactorLossConfig) -> Tensor:
    """E and G: the bound, and the total correlation by D.  -> []"""
    rows = n.rows(x)
    q = drawn(n, rows, r)
    correlation = n.judge(q.z, r.labels)
    return (error(n, q, rows, cfg) + divergence(n, q) + cfg.tc_weight * correlation).mean()


def critic(n: Aae, x: Tensor, r: CodeInputs, at: Growth, cfg: FactorLossConfig) -> Tensor:
    """D: codes against codes dealt out anew.  -> []"""
    with torch.no_grad():  # E is not trained here
        z = drawn(n, n.rows(x), r).z
    # Departure: the same batch is dealt out, where the paper takes a second one.
    return discrimination(n.judge(z, r.labels), n.judge(dealt(z, r.noise), r.labels))


def dealt(z: Tensor, noise: torch.Generator | None) -> Tensor:
    """Every column in an order of its own: samples of the product of marginals.  [N, Z] -> same"""
    order = torch.rand(z.shape, generator=noise, device=z.device).argsort(0)
    return z.gather(0, order)


def factor_vae_phases(
    cfg: FactorLossConfig, iteration: int = 0
) -> tuple[Phase[Aae, CodeInputs, FactorLossConfig], ...]:
    """The autoencoder, then D."""
    return (
        Phase("autoencoder", trains="EG", loss=autoencoder),
        Phase("critic", trains="D", loss=critic, rate=cfg.critic_rate),
    )
