"""The VAE with the VampPrior as a family."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import model_of
from stylealae.families.family import Family
from stylealae.families.vamp_vae.config import SECTIONS
from stylealae.families.vamp_vae.model import VampModel
from stylealae.families.vamp_vae.networks import VampVae
from stylealae.families.vamp_vae.phases import vamp_vae_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=VampVae,
    phases=vamp_vae_phases,
    sampler=code_sampler,
    model=model_of("vamp_vae", VampModel),
)
