"""The GAN as a family."""

from stylealae.families.common.inputs import code_sampler
from stylealae.families.common.model import model_of
from stylealae.families.family import Family
from stylealae.families.gan.config import SECTIONS
from stylealae.families.gan.model import GanModel
from stylealae.families.gan.networks import Gan
from stylealae.families.gan.phases import gan_phases

__all__ = ["FAMILY"]

FAMILY = Family(
    sections=SECTIONS,
    networks=Gan,
    phases=gan_phases,
    sampler=code_sampler,
    model=model_of("gan", GanModel),
)
