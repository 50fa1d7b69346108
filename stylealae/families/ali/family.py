"""ALI as a family."""

from stylealae.families.ali.config import SECTIONS
from stylealae.families.ali.networks import Ali
from stylealae.families.ali.phases import ali_phases
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Ali,
    phases=ali_phases,
    sampler=code_sampler,
    model=model_of("ali", CodeModel),
)
