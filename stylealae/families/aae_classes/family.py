"""The AAE with classes as a family."""

from stylealae.families.aae_classes.config import SECTIONS
from stylealae.families.aae_classes.inputs import class_sampler
from stylealae.families.aae_classes.model import ClassModel
from stylealae.families.aae_classes.networks import ClassAae
from stylealae.families.aae_classes.phases import class_phases
from stylealae.families.common.model import model_of
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=ClassAae,
    phases=class_phases,
    sampler=class_sampler,
    model=model_of("aae_classes", ClassModel),
)
