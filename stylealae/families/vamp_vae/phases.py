"""A VAE with the VampPrior (Tomczak and Welling 2018): the VAE's bound, its prior trained too."""

from stylealae.families.vae.config import VaeLossConfig
from stylealae.families.vae.phases import elbo
from stylealae.families.vamp_vae.networks import VampVae
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase

__all__ = ["vamp_vae_phases"]


def vamp_vae_phases(
    cfg: VaeLossConfig, iteration: int = 0
) -> tuple[Phase[VampVae, CodeInputs, VaeLossConfig], ...]:
    """The one phase."""
    return (Phase("elbo", trains="EGU", loss=elbo),)
