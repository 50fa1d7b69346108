"""The AAE as a family."""

from stylealae.families.aae.config import SECTIONS
from stylealae.families.aae.networks import Aae
from stylealae.families.aae.phases import aae_phases
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Aae,
    phases=aae_phases,
    sampler=code_sampler,
    model=model_of("aae", CodeModel),
)
