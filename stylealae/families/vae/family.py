"""The VAE as a family: the autoencoder's networks."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.common.networks import Autoencoder
from stylealae.families.family import Family
from stylealae.families.vae.config import SECTIONS
from stylealae.families.vae.phases import vae_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Autoencoder,
    phases=vae_phases,
    sampler=code_sampler,
    model=model_of("vae", CodeModel),
)
