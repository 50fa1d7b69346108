"""The random inputs of phases: keyed by (seed, purpose, seen), the same at any world size.

Legend: N images of this rank, Z width of z, L layers of G.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from stylealae import augment
from stylealae.config import AugmentConfig
from stylealae.priors import Prior, categorical, normal, rng
from stylealae.schedule import Progress

__all__ = [
    "CodeInputSampler",
    "CodeInputs",
    "InputSampler",
    "Labelled",
    "PhaseInputs",
    "SingleStyleSampler",
    "StyleInputSampler",
    "StyleInputs",
]

UNKNOWN = -1
"""The label of an image whose class is not known."""

Labelled = tuple[Tensor, Tensor]
"""The images whose class is known: [K, C, R, R] uint8 and [K] int64; of no images if there are
none."""


@dataclass(frozen=True, kw_only=True)
class PhaseInputs:
    """The random inputs of one phase at one moment of the run."""

    z: Tensor
    """Prior samples [N, Z]."""
    noise: torch.Generator | None
    """Source of all noise inside the networks; None switches it off."""
    features: Tensor | None = None
    """What the phase shares of x with the one before or after it, if it has been computed."""

    def part(self, part: slice, n: int) -> Self:
        """The same for some of the n images: that share of every tensor."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        shares: dict[str, Any] = {
            name: t[part.start * len(t) // n : part.stop * len(t) // n]
            for name, t in tensors.items()
            if isinstance(t, Tensor)
        }
        return replace(self, **shares)


@dataclass(frozen=True, kw_only=True)
class StyleInputs(PhaseInputs):
    """The inputs of a phase of ALAE."""

    z_other: Tensor | None = None
    """The second style of mixed images [N, Z]; None if no images are mixed."""
    crossover: Tensor | None = None
    """First layer of the second style, [N] in 1..L; L where nothing is mixed."""
    t: Tensor | None = None
    """How the real images are transformed for D∘E [N, K], see augment.draw; None: they are not."""
    t_fake: Tensor | None = None
    """The same of the generated images."""
    warped: bool = True
    """Whether they may be scaled or rotated."""


@dataclass(frozen=True, kw_only=True)
class CodeInputs(PhaseInputs):
    """The inputs of a phase of the AAE's."""

    y: Tensor
    """Classes from the categorical prior [N] int64."""
    labels: Tensor
    """Classes of the images of the batch [N] int64, -1 where unknown."""
    x_labelled: Tensor
    """Images whose class is known [M, C, R, R] in [-1, 1]."""
    y_labelled: Tensor
    """Their classes [M] int64."""


R_out = TypeVar("R_out", bound=PhaseInputs, covariant=True)


@dataclass(frozen=True, kw_only=True)
class InputSampler(ABC, Generic[R_out]):
    """Samples the inputs of a rank's phases.

    Noise alone is keyed by the rank's place in the batch too: it is drawn on the device.
    """

    seed: int
    z_width: int
    mine: slice
    """This rank's part of the global batch."""
    device: torch.device

    @abstractmethod
    def draw(self, purpose: str, seen: int, at: Progress, labels: Tensor | None = None) -> R_out:
        """This rank's part of one phase's inputs for the whole batch; `labels` are [N]."""

    def noise(self, purpose: str, seen: int) -> torch.Generator | None:
        """The source of noise inside the networks; "meta" tensors have none."""
        if self.device.type == "meta":
            return None
        return rng(self.seed, f"{purpose}/noise/{self.mine.start}", seen, self.device)

    def z(self, purpose: str, seen: int, at: Progress) -> Tensor:
        """Prior samples for the whole batch, the same on every rank.  -> [batch, Z]"""
        return to_device(self._z(purpose, seen, at), self.device)

    def transforms(
        self, purpose: str, seen: int, at: Progress, cfg: AugmentConfig, p: float
    ) -> Tensor:
        """This rank's part of the transforms of a batch, see augment.draw.  -> [n, K]"""
        source = rng(self.seed, f"{purpose}/augment", seen)
        return to_device(augment.draw(at.batch, p, cfg.kinds, source)[self.mine], self.device)

    def _z(self, purpose: str, seen: int, at: Progress) -> Tensor:
        return normal(at.batch, self.z_width, rng(self.seed, purpose, seen))


@dataclass(frozen=True, kw_only=True)
class StyleInputSampler(InputSampler[StyleInputs]):
    """The inputs of ALAE's phases: prior samples, and which of them are mixed."""

    mixing_prob: float = 0.0

    def draw(
        self, purpose: str, seen: int, at: Progress, labels: Tensor | None = None
    ) -> StyleInputs:
        """This rank's part of one phase's inputs for the whole batch."""
        source = rng(self.seed, purpose, seen)
        z = torch.randn(2, at.batch, self.z_width, generator=source)[:, self.mine]  # [2, n, Z]
        mixed = torch.rand(at.batch, generator=source) < self.mixing_prob
        layers = 2 * (at.stage + 1)
        crossover = torch.randint(1, layers, (at.batch,), generator=source)
        crossover = torch.where(mixed, crossover, layers)[self.mine]
        z, crossover = to_device(z, self.device), to_device(crossover, self.device)
        noise = self.noise(purpose, seen)
        return StyleInputs(z=z[0], z_other=z[1], crossover=crossover, noise=noise)


class SingleStyleSampler(InputSampler[StyleInputs]):
    """As `StyleInputSampler`, where G has one layer: no styles to mix."""

    def draw(
        self, purpose: str, seen: int, at: Progress, labels: Tensor | None = None
    ) -> StyleInputs:
        """This rank's part of the batch's z."""
        z = self._z(purpose, seen, at)[self.mine]
        return StyleInputs(z=to_device(z, self.device), noise=self.noise(purpose, seen))


@dataclass(frozen=True, kw_only=True)
class CodeInputSampler(InputSampler[CodeInputs]):
    """The inputs of the AAE's phases: codes and classes from their priors, labelled images."""

    prior: Prior
    classes: int = 1
    class_shares: tuple[float, ...] = ()
    """How often the prior has each class; empty: all alike."""
    by_label: bool = False
    """Whether z is of its label's component of the prior, where the label is known."""
    labelled: Labelled
    labelled_batch: int = 0
    """Labelled images that all ranks draw together."""

    def draw(
        self, purpose: str, seen: int, at: Progress, labels: Tensor | None = None
    ) -> CodeInputs:
        """This rank's part of one phase's inputs for the whole batch."""
        source = rng(self.seed, purpose, seen)
        known = torch.full((at.batch,), UNKNOWN)
        if labels is not None:
            known[self.mine] = labels
        z = self.prior.sample(at.batch, source, known if self.by_label else None)[self.mine]
        y = categorical(at.batch, self.classes, self.class_shares, source)[self.mine]
        x_labelled, y_labelled = self._labelled(source, at)
        return CodeInputs(
            z=to_device(z, self.device),
            y=to_device(y, self.device),
            labels=to_device(known[self.mine], self.device),
            x_labelled=x_labelled,
            y_labelled=y_labelled,
            noise=self.noise(purpose, seen),
        )

    def _z(self, purpose: str, seen: int, at: Progress) -> Tensor:
        return self.prior.sample(at.batch, rng(self.seed, purpose, seen))

    def _labelled(self, source: torch.Generator, at: Progress) -> Labelled:
        """This rank's part of a batch of labelled images, drawn with repetition."""
        x, y = self.labelled
        drawn = torch.randint(
            max(1, len(y)), (self.labelled_batch if len(y) else 0,), generator=source
        )
        share = slice(*(end * len(drawn) // at.batch for end in (self.mine.start, self.mine.stop)))
        chosen = drawn[share]
        pixels = to_device(x[chosen], self.device)
        return pixels.float() / 127.5 - 1.0, to_device(y[chosen], self.device)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device; from pinned memory, so that the host waits for no GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
