"""The networks of the GAN: the decoder of the autoencoders, and a discriminator of images.

Legend: N batch, P numbers in a row, Z width of z.
"""

from torch import Tensor

from stylealae.families.common.networks import Rows, image_critic, image_decoder
from stylealae.families.gan.config import GanModelConfig
from stylealae.priors import PRIORS

__all__ = ["Gan"]


class Gan(Rows):
    """G: z -> x and a D of its images against real ones: the comparison of the papers."""

    networks = "GD"

    def __init__(self, cfg: GanModelConfig) -> None:
        super().__init__(cfg)
        self.prior = PRIORS[cfg.prior](cfg.z_width, cfg.prior_scale)
        self.G = image_decoder(cfg, cfg.z_width)
        self.D = image_critic(cfg)

    def decode(self, z: Tensor) -> Tensor:
        """Logits of grey values.  [N, Z] -> [N, P]"""
        logits: Tensor = self.G(z).float()
        return logits

    def judge(self, rows: Tensor) -> Tensor:
        """The logit of "this image is real".  [N, P] -> [N]"""
        logit: Tensor = self.D(rows).squeeze(1).float()
        return logit
