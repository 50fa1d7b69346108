"""The networks of the VAE/GAN: an autoencoder and a discriminator of its images.

Legend: N batch, P numbers in a row, H features.
"""

from torch import Tensor

from stylealae.families.common.networks import Autoencoder, image_critic
from stylealae.families.vae.config import JudgedVaeModelConfig

__all__ = ["VaeGan"]


class VaeGan(Autoencoder):
    """E: x -> z, G: z -> x, and D of images, whose last hidden layer compares two of them."""

    networks = "EGD"

    def __init__(self, cfg: JudgedVaeModelConfig) -> None:
        super().__init__(cfg)
        self.D = image_critic(cfg)

    def features(self, rows: Tensor) -> Tensor:
        """D's last hidden layer.  [N, P] -> [N, H]"""
        features: Tensor = self.D[:-1](rows)
        return features

    def verdict(self, features: Tensor) -> Tensor:
        """The logit of "this image is real".  [N, H] -> [N]"""
        logit: Tensor = self.D[-1](features).squeeze(1).float()
        return logit

    def judge(self, rows: Tensor) -> Tensor:
        """The same of an image.  [N, P] -> [N]"""
        return self.verdict(self.features(rows))
