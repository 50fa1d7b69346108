"""The sections of the WAE."""

from dataclasses import dataclass
from typing import ClassVar

from stylealae.families.common.config import CodeModelConfig, NoisyLossConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "WaeLossConfig"]


@dataclass(frozen=True, kw_only=True)
class WaeLossConfig(NoisyLossConfig):
    """As `NoisyLossConfig`, the codes following the prior by a kernel."""

    retired: ClassVar[frozenset[str]] = frozenset({"deceit_weight", "critic_rate", "merged"})
    """Keys that did nothing here."""

    mmd_weight: float = 10.0
    """Weight of the squared maximum mean discrepancy, lambda of the paper."""

    @property
    def comparison(self) -> str:
        """What compares the images of a worker among themselves, by its key; empty: nothing."""
        return "loss.mmd_weight"


SECTIONS = Sections(CodeModelConfig, WaeLossConfig)
