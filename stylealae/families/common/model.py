"""Trained models that are made of MLPs, as users call them.

Legend: N batch, C channels, R resolution, P numbers in a row, Z width of z, K classes.
"""

from pathlib import Path
from typing import Generic, TypeVar

import torch
import torch.nn.functional as fn
from torch import Tensor

from stylealae.families.common.config import EncoderModelConfig, MlpConfig
from stylealae.families.common.networks import Autoencoder, CentralCrop
from stylealae.families.family import MakesModel, Means
from stylealae.image_grid import Row
from stylealae.interop import snapshot
from stylealae.interop.card import mlp_card
from stylealae.networks.group import NetworkGroup
from stylealae.priors import Prior, categorical, rng

__all__ = ["CodeModel", "MlpModel", "model_of"]

N = TypeVar("N", bound=NetworkGroup)
M = TypeVar("M", bound=MlpConfig)
A = TypeVar("A", bound=Autoencoder)
C = TypeVar("C", bound=EncoderModelConfig)


class MlpModel(Generic[N, M]):
    """A trained model: its networks, and how they are saved."""

    def __init__(
        self, family: str, nets: N, model: M, *, stage: int, seen: int = 0, origin: str = ""
    ) -> None:
        self.family = family
        self.nets = nets
        self.nets.eval().requires_grad_(False)
        self.model = model
        self.stage = stage
        self.seen = seen
        self.origin = origin

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.nets.parameters())).device

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.model.resolution

    @property
    def pixels(self) -> int:
        """Numbers in an image as the networks take it."""
        return self.model.pixels

    def grey(self, x: Tensor) -> Tensor:
        """What the networks take of an image.  [N, C, R, R] in [-1, 1] -> [N, P] in [0, 1]"""
        return CentralCrop(self.model).rows(x).add(1.0).mul(0.5)

    def save(self, folder: Path, *, origin: str = "") -> None:
        """Writes weights, config and model card into an existing folder.

        `origin` is a sentence on where the weights are from; default: as recorded.
        """
        origin = origin or self.origin
        whole = snapshot.Snapshot(
            family=self.family, model=self.model, tensors=self.nets.state_dict(),
            stage=self.stage, seen=self.seen, origin=origin,
        )  # fmt: skip
        card = mlp_card(self.family, self.resolution, self.seen, origin)
        snapshot.write(folder, whole, card)

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """All that new images are made of.  -> [n, L]"""
        raise NotImplementedError

    def images(
        self, latents: Tensor, alpha: float = 1.0, noise: torch.Generator | None = None
    ) -> Tensor:
        """The images of latents; MLPs neither grow nor take noise.  [N, L] -> [N, C, R, R]"""
        raise NotImplementedError

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        return self.images(self.latents(n, rng(seed, "sample", 0)))

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[Row]:
        """Captioned rows of an image grid: these images, and samples."""
        samples = self.sample(2 * len(x), seed=1)
        return [("originals", x), (f"samples after {self.seen:,} images", samples)]

    def grids(self, x: Tensor) -> dict[str, list[Row]]:
        """The image grids of a finished run, by name: samples, and the rest of `rows`.

        Where nothing is reconstructed, originals are beside samples.
        """
        *rest, samples = self.rows(x)
        if len(rest) == 1:
            return {"samples": [*rest, samples]}
        return {"samples": [samples], "reconstructions": rest}


class CodeModel(MlpModel[A, C]):
    """An autoencoder: z [N, Z] and, where G takes classes, y [N, K]."""

    @property
    def code_width(self) -> int:
        """Numbers in a code."""
        return self.model.z_width

    @property
    def class_inputs(self) -> int:
        """Classes that `decode` takes beside z."""
        return self.nets.class_inputs

    @property
    def prior(self) -> Prior:
        """The distribution p(z)."""
        return self.nets.prior

    @property
    def forms(self) -> tuple[str, str]:
        """The names of the posterior q(z|x) and of the prior."""
        return self.model.posterior, self.model.prior

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
        return self.nets.images(logits.sigmoid())

    @torch.no_grad()
    def reconstruct(self, x: Tensor, labels: Tensor | None = None, *, alpha: float = 1.0) -> Tensor:
        """G(E(x)); `labels` [N] where G takes them.  [N, C, R, R] -> same"""
        code = self.nets.E(self.nets.rows(x.to(self.device)))
        labels = torch.full((len(x),), -1) if labels is None else labels
        return self.decode(code.z, self.nets.conditioning(code, labels.to(self.device)))

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """Codes z, and where G takes classes y.  -> [n, Z + K]"""
        z = self.nets.prior.sample(n, source)
        classes = max(1, self.class_inputs)
        shares = getattr(self.model, "class_shares", ())
        y = fn.one_hot(categorical(n, classes, shares, source), classes)
        return torch.cat([z, y[:, : self.class_inputs].float()], dim=1)

    def images(
        self, latents: Tensor, alpha: float = 1.0, noise: torch.Generator | None = None
    ) -> Tensor:
        """The images of codes and classes.  [N, Z + K] -> [N, C, R, R]"""
        return self.decode(*latents.tensor_split([self.code_width], dim=1))

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[Row]:
        """Captioned rows of an image grid: these images, their reconstructions, samples."""
        originals, samples = super().rows(x, alpha)
        return [originals, ("reconstructions G(E(x))", self.reconstruct(x)), samples]


def model_of(family: str, kind: type[MlpModel[N, M]]) -> MakesModel[N, M]:
    """What makes a family's trained models, of a class."""

    def made(
        nets: N, means: Means, model: M, /, *, stage: int, seen: int, origin: str = ""
    ) -> MlpModel[N, M]:
        return kind(family, nets, model, stage=stage, seen=seen, origin=origin)

    return made
