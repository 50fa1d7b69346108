"""The sections of the AAE."""

from stylealae.families.common.config import AaeModelConfig, CodeLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS"]

SECTIONS = Sections(AaeModelConfig, CodeLossConfig)
