"""p(z), and the addressed randomness of everything that is sampled in training.

Legend: n samples, Z width of z.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

import torch
from torch import Tensor

from stylealae import losses

__all__ = [
    "PRIORS",
    "Gaussian",
    "Gaussians",
    "Mixture",
    "Prior",
    "Sphere",
    "SwissRoll",
    "Uniform",
    "categorical",
    "global_generator",
    "normal",
    "rng",
]

PETALS = 10
"""Components of the mixture."""
PETAL_AT, PETAL_LENGTH, PETAL_WIDTH = 1.4, 0.5, 0.1
"""Distance of a petal's middle from the centre, and its two standard deviations."""
TURNS, RADIUS, THICKNESS = 1.5, 2.2, 0.05
"""Of the swiss roll."""


def global_generator(device: torch.device) -> torch.Generator:
    """Torch's own generator of a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator


def rng(seed: int, purpose: str, seen: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator for one purpose at one moment of the run: addressed, not consumed."""
    digest = sha256(f"{seed}/{purpose}/{seen}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


def normal(n: int, width: int, generator: torch.Generator) -> Tensor:
    """Samples of the standard normal prior.  -> [n, width]"""
    return torch.randn(n, width, generator=generator)


def categorical(
    n: int, classes: int, shares: Sequence[float], generator: torch.Generator
) -> Tensor:
    """Samples of the categorical prior, all classes alike without shares.  -> [n] int64"""
    if not shares:
        return torch.randint(classes, (n,), generator=generator)
    return torch.multinomial(torch.tensor(shares), n, replacement=True, generator=generator)


@dataclass(frozen=True)
class Prior:
    """A distribution of codes; `scale` multiplies its samples."""

    components: ClassVar[int] = 0
    """Parts of it that a class can have for itself, numbered from 0; 0 if it has none."""

    width: int
    scale: float = 1.0

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples; those with a label from its component of the prior, if it has any.  -> [n, Z]

        `labels` [n] int64 name components, -1 any.  The randomness used does not depend on them.
        """
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density, where it is known in closed form.  [n, Z] -> [n]"""
        raise NotImplementedError

    def kl(self, mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        """KL(N(mean, var) || p), estimated at the draw mean + std * eps.  [n, Z] thrice -> [n]"""
        std = (0.5 * log_var).exp()
        own = (_log_normal(eps, 1.0) - std.log()).sum(1)
        return own - self.log_prob(mean + std * eps)


class Gaussian(Prior):
    """N(0, scale^2) in every direction."""

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples; it has no components.  -> [n, Z]"""
        return self.scale * normal(n, self.width, source)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density.  [n, Z] -> [n]"""
        return _log_normal(z, self.scale).sum(1)

    def kl(self, mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        """KL(N(mean, var) || p) in closed form.  [n, Z] -> [n]"""
        return losses.gaussian_kl(mean, log_var, self.scale)


class Uniform(Prior):
    """Uniform between -scale and scale in every direction."""

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples; it has no components.  -> [n, Z]"""
        return self.scale * (2.0 * torch.rand(n, self.width, generator=source) - 1.0)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density.  [n, Z] -> [n]"""
        inside = (z.abs() <= self.scale).all(1)
        density = torch.full((len(z),), -self.width * math.log(2.0 * self.scale), device=z.device)
        return torch.where(inside, density, -math.inf)


class Sphere(Prior):
    """Uniform on the sphere of mean square scale^2."""

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples; it has no components.  -> [n, Z]"""
        z = normal(n, self.width, source)
        return self.scale * z * z.square().mean(1, keepdim=True).rsqrt()


class Mixture(Prior):
    """Ten 2-D Gaussians around the centre, elongated away from it: petals, its components."""

    components = PETALS

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples.  -> [n, 2]"""
        petal = _components(torch.randint(PETALS, (n,), generator=source), labels)
        along, across = normal(n, 2, source).unbind(1)
        angle = 2.0 * math.pi * petal / PETALS
        radius, side = PETAL_AT + PETAL_LENGTH * along, PETAL_WIDTH * across
        x = radius * angle.cos() - side * angle.sin()
        y = radius * angle.sin() + side * angle.cos()
        return self.scale * torch.stack((x, y), 1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density.  [n, 2] -> [n]"""
        angle = torch.arange(PETALS, device=z.device) * (2.0 * math.pi / PETALS)
        x, y = (z / self.scale)[:, :, None].unbind(1)  # [n, 1] each
        along = x * angle.cos() + y * angle.sin() - PETAL_AT  # [n, petals]
        across = y * angle.cos() - x * angle.sin()
        density = _log_normal(along, PETAL_LENGTH) + _log_normal(across, PETAL_WIDTH)
        return density.logsumexp(1) - math.log(PETALS * self.scale**2)


class SwissRoll(Prior):
    """A spiral whose angle grows with the root of a uniform number; its components are tenths."""

    components = PETALS

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples.  -> [n, 2]"""
        tenth = _components(torch.randint(PETALS, (n,), generator=source), labels)
        along = ((tenth + torch.rand(n, generator=source)) / PETALS).sqrt()
        angle = 2.0 * math.pi * TURNS * along
        spiral = RADIUS * along[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
        return self.scale * (spiral + THICKNESS * normal(n, 2, source))


@dataclass(frozen=True, kw_only=True)
class Gaussians(Prior):
    """Gaussians of one weight each, wherever they are put: K means and log variances [K, Z]."""

    mean: Tensor
    log_var: Tensor

    def sample(self, n: int, source: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Samples on the CPU; its components are no classes.  -> [n, Z]"""
        which = torch.randint(len(self.mean), (n,), generator=source)
        mean, std = self.mean.cpu()[which], (0.5 * self.log_var.cpu()[which]).exp()
        return self.scale * (mean + std * normal(n, self.width, source))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density.  [n, Z] -> [n]"""
        apart = (z[:, None] / self.scale - self.mean) * (-0.5 * self.log_var).exp()  # [n, K, Z]
        density = (_log_normal(apart, 1.0) - 0.5 * self.log_var).sum(2)
        return density.logsumexp(1) - math.log(len(self.mean)) - self.width * math.log(self.scale)


PRIORS: dict[str, type[Prior]] = {
    "gaussian": Gaussian, "uniform": Uniform, "sphere": Sphere, "mixture": Mixture,
    "swiss_roll": SwissRoll,
}  # fmt: skip


def _components(drawn: Tensor, labels: Tensor | None) -> Tensor:
    return drawn if labels is None else torch.where(labels < 0, drawn, labels)


def _log_normal(x: Tensor, std: float) -> Tensor:
    return -0.5 * (x / std).square() - math.log(std * math.sqrt(2.0 * math.pi))
