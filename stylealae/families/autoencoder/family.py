"""The plain autoencoder as a family."""

from stylealae.families.autoencoder.config import SECTIONS
from stylealae.families.autoencoder.phases import autoencoder_phases
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.common.networks import Autoencoder
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Autoencoder,
    phases=autoencoder_phases,
    sampler=code_sampler,
    model=model_of("autoencoder", CodeModel),
)
