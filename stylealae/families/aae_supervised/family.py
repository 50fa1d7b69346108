"""The supervised AAE as a family: the AAE's phases."""

from stylealae.families.aae.phases import aae_phases
from stylealae.families.aae_supervised.config import SECTIONS
from stylealae.families.aae_supervised.model import SupervisedModel
from stylealae.families.aae_supervised.networks import SupervisedAae
from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import model_of
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=SupervisedAae,
    phases=aae_phases,
    sampler=code_sampler,
    model=model_of("aae_supervised", SupervisedModel),
)
