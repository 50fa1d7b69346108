"""The sections of the label-informed AAE."""

from stylealae.families.common.config import InformedLossConfig, LabelModelConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS"]

SECTIONS = Sections(LabelModelConfig, InformedLossConfig)
