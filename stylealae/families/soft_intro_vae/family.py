"""The Soft-IntroVAE as a family."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.common.networks import Autoencoder
from stylealae.families.family import Family
from stylealae.families.soft_intro_vae.config import SECTIONS
from stylealae.families.soft_intro_vae.phases import soft_intro_vae_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Autoencoder,
    phases=soft_intro_vae_phases,
    sampler=code_sampler,
    model=model_of("soft_intro_vae", CodeModel),
)
