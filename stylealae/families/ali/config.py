"""The sections of ALI and BiGAN."""

from dataclasses import dataclass
from typing import Literal

from stylealae.families.common.config import CodeModelConfig
from stylealae.families.gan.config import GanLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "AliModelConfig"]


@dataclass(frozen=True, kw_only=True)
class AliModelConfig(CodeModelConfig):
    """As `CodeModelConfig`: ALI's posterior is Gaussian, BiGAN's deterministic."""

    posterior: Literal["gaussian", "deterministic"] = "gaussian"
    """Form of q(z|x)."""


SECTIONS = Sections(AliModelConfig, GanLossConfig)
