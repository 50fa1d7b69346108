"""The FactorVAE as a family."""

from stylealae.families.aae.networks import Aae
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.factor_vae.config import SECTIONS
from stylealae.families.factor_vae.phases import factor_vae_phases
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Aae,
    phases=factor_vae_phases,
    sampler=code_sampler,
    model=model_of("factor_vae", CodeModel),
)
