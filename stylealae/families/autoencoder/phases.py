"""The plain autoencoder: reconstruction alone."""

from stylealae.families.common.config import CodeLossConfig
from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.phases import RECONSTRUCTION, summed
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase

__all__ = ["autoencoder_phases"]


def autoencoder_phases(
    cfg: CodeLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, CodeLossConfig], ...]:
    """The one phase."""
    return (summed("reconstruction", "EG", RECONSTRUCTION),)
