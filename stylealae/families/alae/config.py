"""The sections of ALAE as MLPs; its losses are StyleALAE's."""

from dataclasses import dataclass

from stylealae.config import AlaeLossConfig
from stylealae.families.common.config import MlpConfig
from stylealae.families.sections import Sections

__all__ = ["SECTIONS", "AlaeModelConfig"]


@dataclass(frozen=True, kw_only=True)
class AlaeModelConfig(MlpConfig):
    """ALAE's F, G, E and D as plain MLPs."""

    z_width: int = 50
    """Numbers in a prior sample z."""
    w_width: int = 50
    """Numbers in a style w."""
    hidden: int = 1024
    """Units of a hidden layer of E and G."""
    hidden_layers: int = 3
    """Hidden layers of E and of G."""
    mapping_hidden: int = 512
    """Units of a hidden layer of F and D."""
    mapping_layers: int = 3
    """Layers of F and of D."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("w_width", "mapping_hidden", "mapping_layers")


SECTIONS = Sections(AlaeModelConfig, AlaeLossConfig)
