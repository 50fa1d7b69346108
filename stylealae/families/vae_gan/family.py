"""The VAE/GAN as a family."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.family import Family
from stylealae.families.vae_gan.config import SECTIONS
from stylealae.families.vae_gan.networks import VaeGan
from stylealae.families.vae_gan.phases import vae_gan_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=VaeGan,
    phases=vae_gan_phases,
    sampler=code_sampler,
    model=model_of("vae_gan", CodeModel),
)
