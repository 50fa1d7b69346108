"""The sections of the plain autoencoder."""

from dataclasses import dataclass
from typing import ClassVar

from stylealae.families.common.config import CodeModelConfig, NoisyLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "AutoencoderLossConfig"]


@dataclass(frozen=True, kw_only=True)
class AutoencoderLossConfig(NoisyLossConfig):
    """The reconstruction alone."""

    retired: ClassVar[frozenset[str]] = frozenset({"deceit_weight", "critic_rate", "merged"})
    """Keys that did nothing here."""


SECTIONS = Sections(CodeModelConfig, AutoencoderLossConfig)
