"""The VAE with the VampPrior, trained."""

from stylealae.families.common.model import CodeModel
from stylealae.families.vamp_vae.config import VampModelConfig
from stylealae.families.vamp_vae.networks import VampVae

__all__ = ["VampModel"]


class VampModel(CodeModel[VampVae, VampModelConfig]):
    """A VAE that samples from the posteriors of its pseudo-inputs."""

    @property
    def forms(self) -> tuple[str, str]:
        """The names of the posterior q(z|x) and of the prior."""
        return self.model.posterior, "VampPrior"
