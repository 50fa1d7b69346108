"""The IntroVAE as a family."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.common.networks import Autoencoder
from stylealae.families.family import Family
from stylealae.families.intro_vae.config import SECTIONS
from stylealae.families.intro_vae.phases import intro_vae_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Autoencoder,
    phases=intro_vae_phases,
    sampler=code_sampler,
    model=model_of("intro_vae", CodeModel),
)
