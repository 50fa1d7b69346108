"""The sections of the label-informed AAE."""

from stylealae.families.common.config import ClassModelConfig, InformedLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS"]

SECTIONS = Sections(ClassModelConfig, InformedLossConfig)
