"""A picture of the studio as a value: the faces it is made of, and what is done to them.

Legend: L layers of G (two a stage), W width of w.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stylealae import latents
from stylealae.errors import ConfigError

__all__ = ["Band", "Face", "Recipe", "bands_of", "packed", "unpacked"]

MAX_AMOUNT = 20.0
MAX_TRUNCATION = 2.0
MAX_NAME = 64
MAX_SEED = 2**31


@dataclass(frozen=True)
class Band:
    """Neighbouring layers of G that decide one kind of thing."""

    name: str
    first: int
    last: int
    """First and last layer, both included."""

    @property
    def caption(self) -> str:
        """The resolutions that it covers, as people read them."""
        low, high = 4 << self.first // 2, 4 << self.last // 2
        return f"{low}×{low}" if low == high else f"{low}×{low} to {high}×{high}"  # noqa: RUF001


def bands_of(layers: int) -> tuple[Band, ...]:
    """The coarse, middle and fine layers of a model that has so many."""
    return tuple(Band(name, *ends) for name, ends in latents.bands(layers).items())


@dataclass(frozen=True, kw_only=True)
class Face:
    """Where a face comes from: a style that the page holds, or a seed of the prior."""

    w: Tensor | None = None
    """[W], or [L, W]."""
    seed: int = 0
    truncation: float = 1.0
    """Of a seed's style alone: below 1 pulls it towards the mean."""
    tuned: str = ""
    """Name of the tuning that it is drawn with, as the first face of a recipe; empty for none."""

    @classmethod
    def parsed(cls, given: object) -> "Face":
        """A face of the page's JSON.

        Raises:
            ConfigError: it is none.
        """
        face = _mapping(given, "a face")
        if "w" in face:
            return cls(w=unpacked(face["w"]), tuned=_name(face.get("tuned", "")))
        return cls(
            seed=_seed(face.get("seed")),
            truncation=_number(face.get("truncation", 1.0), "truncation", 0, MAX_TRUNCATION),
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a picture."""

    face: Face
    other: Face | None = None
    """The second face, of which `mix` takes some."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Share of the second face by band, 0 to 1."""
    amounts: Mapping[str, float] = field(default_factory=dict)
    """How far to go along named directions, in standard deviations."""
    noise: bool = False
    """Add G's noise, the same for every picture."""

    @property
    def address(self) -> str:
        """The same text for the same picture; empty if a face in it is not of a seed."""
        mix = _moved(self.mix) if self.other else []
        faces = [self.face, *([self.other] if self.other and mix else [])]
        if any(face.w is not None for face in faces):
            return ""
        seeds = [(face.seed, face.truncation) for face in faces]
        return repr((seeds, mix, _moved(self.amounts), self.noise))

    @classmethod
    def parsed(cls, given: object) -> "Recipe":
        """A recipe of the page's JSON.

        Raises:
            ConfigError: a part is missing or out of range.
        """
        recipe = _mapping(given, "a recipe")
        other = recipe.get("other")
        return cls(
            face=Face.parsed(recipe.get("face")),
            other=None if other is None else Face.parsed(other),
            mix={
                str(name): _number(share, f"the share of {name}", 0, 1)
                for name, share in _mapping(recipe.get("mix", {}), "mix").items()
            },
            amounts={
                str(name): _number(amount, f"the amount of {name}", -MAX_AMOUNT, MAX_AMOUNT)
                for name, amount in _mapping(recipe.get("amounts", {}), "amounts").items()
            },
            noise=bool(recipe.get("noise", False)),
        )


def packed(w: Tensor) -> str:
    """Numbers as text for JSON: little-endian float32 in base64."""
    return base64.b64encode(w.detach().cpu().numpy().astype("<f4").tobytes()).decode()


def unpacked(text: object) -> Tensor:
    """The inverse of `packed`, as one row of numbers.

    Raises:
        ConfigError: the text is something else.
    """
    try:
        if not isinstance(text, str):
            raise TypeError(f"{type(text).__name__} is no text")
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ConfigError(f"a style could not be read: {error}") from error
    if not len(numbers) or not np.isfinite(numbers).all():
        raise ConfigError("a style is empty or holds numbers that are not finite")
    return torch.from_numpy(numbers)


def _moved(amounts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Those that change something, in the order of their names."""
    return sorted((name, amount) for name, amount in amounts.items() if amount)


def _mapping(given: object, what: str) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} is {str(given)[:40]!r}: wanted a JSON object")
    return given


def _name(given: object) -> str:
    if not isinstance(given, str) or len(given) > MAX_NAME:
        raise ConfigError(f"the tuning is {str(given)[:40]!r}: wanted its name")
    return given


def _seed(given: object) -> int:
    seed = _number(given, "seed", 0, MAX_SEED)
    if not seed.is_integer():
        raise ConfigError(f"seed is {seed}: wanted a whole number")
    return int(seed)


def _number(given: object, what: str, low: float, high: float) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool) and low <= given <= high:
        return float(given)
    wanted = f"wanted a number from {low:g} to {high:.10g}"  # NaN is in no range
    raise ConfigError(f"{what} is {str(given)[:40]!r}: {wanted}")
