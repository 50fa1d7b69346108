"""What trained models can do.  Metrics and figures match a model by it, not by its family.

A class has a capability by its attributes and methods; it need not inherit it.

Legend: N batch, L numbers that an image is drawn by, C channels, R resolution, P numbers of an
image, Z and W widths, K classes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from stylealae.config import ShapeConfig
from stylealae.image_grid import Row
from stylealae.networks.group import NetworkGroup
from stylealae.priors import Prior

__all__ = [
    "CAPABILITIES",
    "Autoencodes",
    "Classifies",
    "Flattens",
    "Generates",
    "Model",
    "Reconstructs",
    "Reduces",
    "TakesClasses",
    "Unmaps",
    "of_classes",
]


class Model(Protocol):
    """A trained model of any family."""

    @property
    def family(self) -> str:
        """The name of its family."""
        ...

    @property
    def nets(self) -> NetworkGroup:
        """Its networks, in evaluation mode."""
        ...

    @property
    def model(self) -> ShapeConfig:
        """The config of the networks."""
        ...

    @property
    def stage(self) -> int:
        """The last trained stage."""
        ...

    @property
    def seen(self) -> int:
        """Images it was trained on."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        ...

    def save(self, folder: Path, *, origin: str = "") -> None:
        """Writes a snapshot into an existing folder."""
        ...

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """New images.  -> [n, C, R, R]"""
        ...

    def rows(self, x: Tensor, alpha: float = 1.0) -> list[Row]:
        """Captioned rows of an image grid: these images, and what the model makes of them."""
        ...

    def grids(self, x: Tensor) -> dict[str, list[Row]]:
        """The image grids of a finished run, by name."""
        ...


M = TypeVar("M", bound=Model)


@runtime_checkable
class Generates(Model, Protocol):
    """Images are made of numbers that are drawn from a prior."""

    def latents(self, n: int, source: torch.Generator) -> Tensor:
        """All that new images are made of, but for noise.  -> [n, L]"""
        ...

    def images(
        self, latents: Tensor, alpha: float = 1.0, noise: torch.Generator | None = None
    ) -> Tensor:
        """The images of latents; `noise` is the source of G's.  [N, L] -> [N, C, R, R]"""
        ...


@runtime_checkable
class Reconstructs(Model, Protocol):
    """E and G give an image again."""

    def reconstruct(self, x: Tensor, *, alpha: float = 1.0) -> Tensor:
        """G(E(x)), without noise.  [N, C, R, R] -> [N, C, R, R]"""
        ...


@runtime_checkable
class Flattens(Model, Protocol):
    """Its networks take an image as a row of grey values."""

    @property
    def pixels(self) -> int:
        """Numbers in the row."""
        ...

    def grey(self, x: Tensor) -> Tensor:
        """What the networks take of an image.  [N, C, R, R] in [-1, 1] -> [N, P] in [0, 1]"""
        ...


@runtime_checkable
class Autoencodes(Model, Protocol):
    """E gives a code z in the space of a prior p(z), and G decodes it."""

    @property
    def code_width(self) -> int:
        """Numbers in a code."""
        ...

    @property
    def class_inputs(self) -> int:
        """Classes that `decode` takes beside z; 0 for none."""
        ...

    @property
    def prior(self) -> Prior:
        """The distribution p(z)."""
        ...

    @property
    def forms(self) -> tuple[str, str]:
        """The names of the posterior q(z|x) and of the prior."""
        ...

    def encode(self, x: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """E: the code of an image; with `noise` a draw from q(z|x).  [N, C, R, R] -> [N, Z]"""
        ...

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """G: the image of a code, and of a class.  [N, Z], [N, K] -> [N, C, R, R]"""
        ...


@runtime_checkable
class Classifies(Autoencodes, Protocol):
    """E sorts images into classes too."""

    @property
    def classes(self) -> int:
        """How many."""
        ...

    def classify(self, x: Tensor) -> Tensor:
        """The probability of every class.  [N, C, R, R] -> [N, K]"""
        ...


@runtime_checkable
class Reduces(Classifies, Protocol):
    """Images are reduced to a few numbers, in which every class has a head."""

    @property
    def heads(self) -> Tensor:
        """The heads of the classes [K, Z]."""
        ...

    def reduce(self, x: Tensor) -> Tensor:
        """The representation of an image.  [N, C, R, R] -> [N, Z]"""
        ...


@runtime_checkable
class TakesClasses(Model, Protocol):
    """G takes an image's class, which E does not give: it has to be known to reconstruct it."""

    def of_classes(self, classes: Tensor) -> Self:
        """The model for images of these classes, in their order.  [N] int64, -1 where unknown"""
        ...


@runtime_checkable
class Unmaps(Model, Protocol):
    """F maps z to w, from which a z can be found again."""

    @property
    def code_width(self) -> int:
        """Numbers in w."""
        ...

    def map(self, z: Tensor) -> Tensor:
        """F: the style of a prior sample.  [N, Z] -> [N, W]"""
        ...

    def generate(self, w: Tensor) -> Tensor:
        """G: the image of a style.  [N, W] -> [N, C, R, R]"""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """E: the style of an image.  [N, C, R, R] -> [N, W]"""
        ...

    def unmap(self, w: Tensor, steps: int = 300) -> Tensor:
        """A z that F takes near to w.  [N, W] -> [N, Z]"""
        ...


CAPABILITIES: Mapping[type, str] = {
    Generates: "model that generates",
    Reconstructs: "model that reconstructs",
    Flattens: "model of grey values",
    Autoencodes: "model whose codes have a prior",
    Classifies: "model that classifies",
    Reduces: "model that reduces images to a few numbers",
    TakesClasses: "model that is given classes",
    Unmaps: "model whose F can be inverted",
}
"""What a model with a capability is called in a sentence."""


def of_classes(model: M, classes: Callable[[], Tensor]) -> M:
    """The model for images of these classes [N], where it has to know them; else itself."""
    return model.of_classes(classes()) if isinstance(model, TakesClasses) else model
