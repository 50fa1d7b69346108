"""The plain autoencoder: reconstruction alone."""

from stylealae.families.autoencoder.config import AutoencoderLossConfig
from stylealae.families.common.networks import Autoencoder
from stylealae.families.common.phases import RECONSTRUCTION, summed
from stylealae.phase_inputs import CodeInputs
from stylealae.phases import Phase

__all__ = ["autoencoder_phases"]


def autoencoder_phases(
    cfg: AutoencoderLossConfig, iteration: int = 0
) -> tuple[Phase[Autoencoder, CodeInputs, AutoencoderLossConfig], ...]:
    """The one phase."""
    return (summed("reconstruction", "EG", RECONSTRUCTION),)
