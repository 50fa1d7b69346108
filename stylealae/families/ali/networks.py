"""The networks of ALI: an autoencoder and a discriminator of pairs.

Legend: N batch, P numbers in a row, Z width of z.
"""

from torch import Tensor

from stylealae.families.ali.config import AliModelConfig
from stylealae.families.common.networks import Autoencoder, image_critic

__all__ = ["Ali"]


class Ali(Autoencoder):
    """E: x -> z, G: z -> x, and D of an image beside a code."""

    networks = "EGD"

    def __init__(self, cfg: AliModelConfig) -> None:
        super().__init__(cfg)
        self.D = image_critic(cfg, cfg.z_width)

    def judge(self, pairs: Tensor) -> Tensor:
        """The logit of "this code was made of this image by E".  [N, P + Z] -> [N]"""
        logit: Tensor = self.D(pairs).squeeze(1).float()
        return logit
