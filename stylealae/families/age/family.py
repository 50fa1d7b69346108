"""AGE as a family."""

from stylealae.families.age.config import SECTIONS
from stylealae.families.age.phases import age_phases
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.common.networks import Autoencoder
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Autoencoder,
    phases=age_phases,
    sampler=code_sampler,
    model=model_of("age", CodeModel),
)
