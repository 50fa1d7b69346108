"""The dimensionality-reducing AAE as a family."""

from stylealae.families.aae_classes.inputs import class_sampler
from stylealae.families.aae_heads.config import SECTIONS
from stylealae.families.aae_heads.model import HeadsModel
from stylealae.families.aae_heads.networks import HeadsAae
from stylealae.families.aae_heads.phases import heads_phases
from stylealae.families.common.model import model_of
from stylealae.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=HeadsAae,
    phases=heads_phases,
    sampler=class_sampler,
    model=model_of("aae_heads", HeadsModel),
)
