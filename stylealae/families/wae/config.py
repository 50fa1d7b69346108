"""The sections of the WAE."""

from dataclasses import dataclass

from stylealae.families.common.config import CodeLossConfig, CodeModelConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "WaeLossConfig"]


@dataclass(frozen=True, kw_only=True)
class WaeLossConfig(CodeLossConfig):
    """As `CodeLossConfig`, the prior being held by a kernel and not by a discriminator."""

    mmd_weight: float = 10.0
    """Weight of the squared maximum mean discrepancy, lambda of the paper."""

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "loss.mmd_weight"


SECTIONS = Sections(CodeModelConfig, WaeLossConfig)
