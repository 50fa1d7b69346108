"""The networks of the AAE: an autoencoder and a discriminator of its codes.

Legend: N batch, Z width of z.
"""

from torch import Tensor

from stylealae.families.common.config import JudgedModelConfig
from stylealae.families.common.networks import SLOPE, Autoencoder, hidden, mlp

__all__ = ["Aae"]


class Aae(Autoencoder):
    """The plain form: D discriminates codes from samples of the prior."""

    networks = "EGD"

    def __init__(
        self,
        cfg: JudgedModelConfig,
        *,
        class_inputs: int = 0,
        classes: int = 0,
        critic_inputs: int = 0,
    ) -> None:
        super().__init__(cfg, class_inputs=class_inputs, classes=classes)
        widths = [cfg.z_width + critic_inputs, *hidden(cfg, cfg.critic_hidden), 1]
        self.D = mlp(widths, slope=SLOPE)

    def judge(self, z: Tensor, labels: Tensor) -> Tensor:
        """The logit of "this is a sample of the prior".  [N, Z], [N] -> [N]"""
        logit: Tensor = self.D(z).squeeze(1).float()
        return logit
