"""The sections of the supervised AAE."""

from stylealae.families.common.config import ClassModelConfig, InformedLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS"]

SECTIONS = Sections(ClassModelConfig, InformedLossConfig)
