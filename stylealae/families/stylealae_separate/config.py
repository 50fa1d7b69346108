"""The sections of StyleGAN with an encoder: StyleALAE's, but for the cheaper step."""

from dataclasses import dataclass

from stylealae.config import LossConfig, ModelConfig
from stylealae.errors import ConfigError
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "SeparateLossConfig"]


@dataclass(frozen=True, kw_only=True)
class SeparateLossConfig(LossConfig):
    """As `LossConfig`, for a critic that has no layer in common with E."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.merged:
            raise ConfigError(
                "loss.merged is one pass through E for D and for reciprocity, and here D has "
                "convolutions of its own: set loss.merged=false"
            )


SECTIONS = Sections(ModelConfig, SeparateLossConfig)
