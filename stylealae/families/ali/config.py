"""The sections of ALI and BiGAN."""

from dataclasses import dataclass
from typing import Literal

from stylealae.families.common.config import JudgedModelConfig
from stylealae.families.gan.config import GanLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "AliModelConfig"]


@dataclass(frozen=True, kw_only=True)
class AliModelConfig(JudgedModelConfig):
    """As `JudgedModelConfig`: ALI's posterior is Gaussian, BiGAN's deterministic."""

    posterior: Literal["gaussian", "deterministic"] = "gaussian"
    """Form of q(z|x)."""


SECTIONS = Sections(AliModelConfig, GanLossConfig)
