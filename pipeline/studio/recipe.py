"""A picture of the studio as a value: the faces it is made of, and what is done to them.

Legend: L layers of G (two a stage), W width of w.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylealae import latents
from stylealae.errors import ConfigError

__all__ = ["Band", "Face", "Recipe", "bands_of", "packed", "unpacked"]

MAX_AMOUNT = 20.0
MAX_TRUNCATION = 2.0


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

    @classmethod
    def parsed(cls, given: Any) -> "Face":
        """A face of the page's JSON.

        Raises:
            ConfigError: it is none.
        """
        given = _mapping(given, "a face")
        if "w" in given:
            return cls(w=unpacked(given["w"]))
        return cls(
            seed=int(_number(given.get("seed"), "seed", 2**31)),
            truncation=_number(given.get("truncation", 1.0), "truncation", MAX_TRUNCATION),
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
    grain: bool = False
    """Add G's noise, the same for every picture."""

    @classmethod
    def parsed(cls, given: Any) -> "Recipe":
        """A recipe of the page's JSON.

        Raises:
            ConfigError: a part is missing or out of range.
        """
        given = _mapping(given, "a recipe")
        other = given.get("other")
        return cls(
            face=Face.parsed(given.get("face")),
            other=None if other is None else Face.parsed(other),
            mix={
                str(name): _number(share, f"the share of {name}", 1.0)
                for name, share in _mapping(given.get("mix", {}), "mix").items()
            },
            amounts={
                str(name): _number(amount, f"the amount of {name}", MAX_AMOUNT)
                for name, amount in _mapping(given.get("amounts", {}), "amounts").items()
            },
            grain=bool(given.get("grain", False)),
        )


def packed(w: Tensor) -> str:
    """Numbers as text for JSON: little-endian float32 in base64."""
    return base64.b64encode(w.detach().cpu().numpy().astype("<f4").tobytes()).decode()


def unpacked(text: Any) -> Tensor:
    """What `packed` gave, as one row of numbers.

    Raises:
        ConfigError: the text is something else.
    """
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ConfigError(f"a style could not be read: {error}") from error
    if not len(numbers) or not np.isfinite(numbers).all():
        raise ConfigError("a style is empty or holds numbers that are not finite")
    return torch.from_numpy(numbers)


def _mapping(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} is {str(given)[:40]!r}: wanted a JSON object")
    return given


def _number(given: Any, what: str, bound: float) -> float:
    plain = isinstance(given, int | float) and not isinstance(given, bool)
    if not plain or not math.isfinite(given) or abs(given) > bound:
        raise ConfigError(f"{what} is {str(given)[:40]!r}: wanted a number up to {bound:g}")
    return float(given)
