"""The variational autoencoder (Kingma and Welling 2014): one bound.

With a weight on its second term the beta-VAE (Higgins et al. 2017).
"""

from torch import Tensor

from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.variational import divergence, drawn, error
from stylealae.families.vae.config import VaeLossConfig
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase
from stylealae.schedule import Growth

__all__ = ["elbo", "vae_phases"]


def elbo(n: Autoencoder, x: Tensor, r: CodeInputs, at: Growth, cfg: VaeLossConfig) -> Tensor:
    """E and G: reconstruction, and beta KL(q(z|x) || p(z)).  -> []"""
    rows = n.rows(x)
    q = drawn(n, rows, r)
    return (error(n, q, rows, cfg) + cfg.beta * divergence(n, q)).mean()


def vae_phases(
    cfg: VaeLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, VaeLossConfig], ...]:
    """The one phase."""
    return (Phase("elbo", trains="EG", loss=elbo),)
