"""The sections of the plain autoencoder: those of the AAE."""

from stylealae.families.common.config import CodeLossConfig, CodeModelConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS"]

SECTIONS = Sections(CodeModelConfig, CodeLossConfig)
