"""Trained models of the families that are made of MLPs, as others call them.

Legend: N batch, C channels, R resolution, Z and W widths, K classes.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.interop import snapshot
from stylealae.ops.layers import pixel_norm
from stylealae.priors import categorical, normal, rng
from stylealae.schedule import Growth

__all__ = ["AlaeMlpModel", "ClassModel", "CodeModel", "GanModel", "HeadsModel", "MlpModel"]

UNMAP_LR = 0.05


class MlpModel:
    """A trained model: its networks, and how they are saved."""

    def __init__(self, family: str, nets: Any, model: Any, *, stage: int, seen: int = 0) -> None:
        self.family = family
        self.nets = nets.eval().requires_grad_(False)
        self.model = model
        self.stage = stage
        self.seen = seen

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(iter(self.nets.parameters())).device
        return device

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        side: int = self.model.resolution
        return side

    def save(self, folder: Path, *, origin: str = "") -> None:
        """Writes weights, config and model card into an existing folder."""
        whole = snapshot.Snapshot(
            family=self.family, model=self.model, tensors=self.nets.state_dict(),
            stage=self.stage, seen=self.seen,
        )  # fmt: skip
        origin = origin or f"Trained on {self.seen:,} images; a running average of the weights."
        card = (
            f"# {self.family}, {self.resolution}x{self.resolution}\n\n{origin}\n\n```python\n"
            "from stylealae import family\n\n"
            'm = family.load("path/to/this/folder")\n'
            "x = m.sample(4, seed=1)  # [4, C, R, R] in [-1, 1]\n```\n"
        )
        snapshot.write(folder, whole, card)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        raise NotImplementedError

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[tuple[str, Tensor]]:
        """Captioned rows for a sheet: these images, and samples."""
        samples = self.sample(2 * len(x), seed=1)
        return [("originals", x), (f"samples after {self.seen:,} images", samples)]

    def sheets(self, x: Tensor) -> dict[str, list[tuple[str, Tensor]]]:
        """The sheets of a finished run, by name: samples, and the rest of `rows`."""
        *rest, samples = self.rows(x)
        return {"samples": [samples], "reconstructions": rest}


class AlaeMlpModel(MlpModel):
    """ALAE as MLPs: z [N, Z], w [N, W], x [N, C, R, R] in [-1, 1]."""

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
        w = w.to(self.device)
        z = normal(len(w), self.model.z_width, rng(0, "unmap", 0)).to(w).requires_grad_()
        descent = torch.optim.Adam([z], lr=UNMAP_LR)
        for i in range(steps):
            descent.param_groups[0]["lr"] = UNMAP_LR * (1.0 - i / steps)
            (z.grad,) = torch.autograd.grad((self.nets.F(z) - w).square().mean(1).sum(), z)
            descent.step()
        return pixel_norm(z.detach())

    @property
    def code_width(self) -> int:
        """Numbers in what `encode` gives."""
        width: int = self.model.w_width
        return width

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E(x)).  [N, C, R, R] -> [N, C, R, R]"""
        return self.generate(self.encode(x))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        return self.generate(self.map(normal(n, self.model.z_width, rng(seed, "sample", 0))))

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[tuple[str, Tensor]]:
        """Captioned rows for a sheet: these images, their reconstructions, samples."""
        originals, samples = super().rows(x, alpha)
        return [originals, ("reconstructions G(E(x))", self.reconstruct(x)), samples]


class GanModel(MlpModel):
    """A GAN: it only samples."""

    @torch.no_grad()
    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        z = self.nets.prior.sample(n, rng(seed, "sample", 0)).to(self.device)
        x: Tensor = self.nets.images(self.nets.decode(z).sigmoid())
        return x


class CodeModel(MlpModel):
    """An autoencoder: z [N, Z] and, where G is told classes, y [N, K]."""

    @property
    def code_width(self) -> int:
        """Numbers in what `encode` gives."""
        width: int = self.model.z_width
        return width

    @torch.no_grad()
    def encode(self, x: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """E: the code of an image; with `noise` a draw from q(z|x).  [N, C, R, R] -> [N, Z]"""
        z: Tensor = self.nets.E(self.nets.rows(x.to(self.device)), noise).z
        return z

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """G: the image of a code, and of a class.  [N, Z], [N, K] -> [N, C, R, R]"""
        y = z.new_zeros(len(z), 0) if y is None else y
        logits = self.nets.decode(z.to(self.device), y.to(self.device))
        x: Tensor = self.nets.images(logits.sigmoid())
        return x

    @torch.no_grad()
    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """G(E(x)); `labels` [N] for a model that is told them.  [N, C, R, R] -> same"""
        code = self.nets.E(self.nets.rows(x.to(self.device)))
        labels = torch.full((len(x),), -1) if labels is None else labels
        return self.decode(code.z, self.nets.beside(code, labels.to(self.device)))

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        source = rng(seed, "sample", 0)
        z = self.nets.prior.sample(n, source)
        kinds = max(1, self.nets.told)
        shares = getattr(self.model, "class_shares", ())
        y = fn.one_hot(categorical(n, kinds, shares, source), kinds)
        return self.decode(z, y[:, : self.nets.told].float())

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[tuple[str, Tensor]]:
        """Captioned rows for a sheet: these images, their reconstructions, samples."""
        originals, samples = super().rows(x, alpha)
        return [originals, ("reconstructions G(E(x))", self.reconstruct(x)), samples]


class ClassModel(CodeModel):
    """An autoencoder whose E sorts images into classes."""

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """How E spreads an image over its classes.  [N, C, R, R] -> [N, K]"""
        y: Tensor = self.nets.E(self.nets.rows(x.to(self.device))).y.softmax(1)
        return y


class HeadsModel(ClassModel):
    """An autoencoder that reduces images to a few numbers."""

    @torch.no_grad()
    def place(self, x: Tensor) -> Tensor:
        """Where an image lies: style and its class's head, added.  [N, C, R, R] -> [N, Z]"""
        code = self.nets.E(self.nets.rows(x.to(self.device)))
        place: Tensor = self.nets.place(code.z, code.y.softmax(1))
        return place
