"""The label-informed AAE as a family: the AAE's phases."""

from functools import partial

from stylealae.families.aae.phases import aae_phases
from stylealae.families.aae_informed.config import SECTIONS
from stylealae.families.aae_informed.networks import InformedAae
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import CodeModel, model_of
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=InformedAae,
    phases=aae_phases,
    sampler=partial(code_sampler, by_label=True),
    model=model_of("aae_informed", CodeModel),
)
