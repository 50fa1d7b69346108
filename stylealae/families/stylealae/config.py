"""The sections of StyleALAE: the method's own."""

from stylealae.config import LossConfig, ModelConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS"]

SECTIONS = Sections(ModelConfig, LossConfig)
