"""The WAE as a family."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.common.networks import Autoencoder
from stylealae.families.family import Family
from stylealae.families.wae.config import SECTIONS
from stylealae.families.wae.phases import wae_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Autoencoder,
    phases=wae_phases,
    sampler=code_sampler,
    model=model_of("wae", CodeModel),
)
