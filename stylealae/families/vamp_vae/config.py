"""The sections of the VAE with the VampPrior."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stylealae.errors import ConfigError
from stylealae.families.sections import Sections
from stylealae.families.vae.config import VaeLossConfig, VaeModelConfig

__all__ = ["SECTIONS", "VampModelConfig"]


@dataclass(frozen=True, kw_only=True)
class VampModelConfig(VaeModelConfig):
    """As `VaeModelConfig`, with images that the prior is made of."""

    prior: ClassVar[Literal["gaussian"]] = "gaussian"  # type: ignore[misc]
    prior_scale: ClassVar[float] = 1.0  # type: ignore[misc]
    """No keys here: of samples that stand in for the prior's in training, which nobody reads."""
    pseudo_inputs: int = 500
    """Learnt images; the prior is the mean of their posteriors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("pseudo_inputs")
        if self.batch_norm:
            raise ConfigError(
                "model.batch_norm is true: the prior would be of a batch's statistics in training "
                "and of their running means after it, which is another prior; set it to false"
            )


SECTIONS = Sections(VampModelConfig, VaeLossConfig)
