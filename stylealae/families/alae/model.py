"""ALAE as MLPs, trained.

Legend: N batch, C channels, R resolution, Z and W widths.
"""

import torch
from torch import Tensor

from stylealae.editing.inversion import unmapped
from stylealae.families.alae.config import AlaeModelConfig
from stylealae.families.alae.networks import AlaeMlp
from stylealae.families.common.model import MlpModel
from stylealae.image_grid import Row
from stylealae.priors import normal
from stylealae.schedule import Growth

__all__ = ["AlaeMlpModel"]


class AlaeMlpModel(MlpModel[AlaeMlp, AlaeModelConfig]):
    """ALAE as MLPs: z [N, Z], w [N, W], x [N, C, R, R] in [-1, 1]."""

    @property
    def code_width(self) -> int:
        """Numbers in w."""
        return self.model.w_width

    @torch.no_grad()
    def map(self, z: Tensor) -> Tensor:
        """F: the style of a prior sample.  [N, Z] -> [N, W]"""
        w: Tensor = self.nets.F(z.to(self.device))
        return w

    @torch.no_grad()
    def generate(self, w: Tensor) -> Tensor:
        """G: the image of a style.  [N, W] -> [N, C, R, R]"""
        x: Tensor = self.nets.G(w.to(self.device), Growth(stage=self.stage))
        return x

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """E: the style of an image.  [N, C, R, R] -> [N, W]"""
        w: Tensor = self.nets.E(x.to(self.device), Growth(stage=self.stage))
        return w

    def unmap(self, w: Tensor, steps: int = 300) -> Tensor:
        """A z that F takes near to w, by gradient descent.  [N, W] -> [N, Z] of unit mean square"""
        return unmapped(self.nets.F, w.to(self.device), self.model.z_width, steps)

    def reconstruct(self, x: Tensor, *, alpha: float = 1.0) -> Tensor:
        """G(E(x)).  [N, C, R, R] -> [N, C, R, R]"""
        return self.generate(self.encode(x))

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """Prior samples z.  -> [n, Z]"""
        return normal(n, self.model.z_width, source)

    def images(
        self, latents: Tensor, alpha: float = 1.0, noise: torch.Generator | None = None
    ) -> Tensor:
        """G(F(z)).  [N, Z] -> [N, C, R, R]"""
        return self.generate(self.map(latents))

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[Row]:
        """Captioned rows of an image grid: these images, their reconstructions, samples."""
        originals, samples = super().rows(x, alpha)
        return [originals, ("reconstructions G(E(x))", self.reconstruct(x)), samples]
