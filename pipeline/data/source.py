"""What a source of images is: (key, uint8 HWC, labels), one by one, in a fixed order.

A source is random access and cheap to open again in another process: pickling one stores only how
it was opened. `read` raises DataError for an image that cannot be used; the caller counts it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.data.pixels import Pixels

__all__ = ["Label", "Options", "Sample", "Source"]

Label = float | str | None
"""A number, a category, or None where nothing is known."""


@dataclass(frozen=True)
class Sample:
    """One image with its name and what is known about it."""

    key: str
    """Name of the image inside the source, unique there."""
    image: Pixels
    """[H, W, C] uint8, upright."""
    labels: Mapping[str, Label]
    """A value for each of the source's label names."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may say about an input."""

    channels: int | None = None
    """1 or 3; None is the source's own."""
    test_fraction: float = 1 / 50
    """Share of the images, from the end, that form the test split where the source names none."""
    licence: str | None = None
    """Licence of the images; None is the source's own."""


class Source(ABC):
    """Images 0 ... len - 1 of one input."""

    name: str
    """Kind of source: a key of `sources.SOURCES`."""
    licence = "not stated"
    channels = 3
    label_names: tuple[str, ...] = ()
    fingerprint = ""
    """Equal for equal inputs, wherever they lie."""

    def __init__(self, input: str, options: Options) -> None:
        """Open `input`; subclasses list what it holds."""
        self.input, self.options = input, options
        self.channels = options.channels or self.channels
        self.licence = options.licence or self.licence

    @abstractmethod
    def __len__(self) -> int:
        """Number of images, broken ones included."""

    @abstractmethod
    def key(self, i: int) -> str:
        """Name of image i."""

    @abstractmethod
    def read(self, i: int, side: int = 256) -> Sample:
        """Image i; sources that draw their images draw them `side` pixels wide."""

    @property
    def splits(self) -> dict[str, range]:
        """Which images belong to which split: contiguous ranges that cover all images."""
        n = len(self)
        test = math.floor(n * self.options.test_fraction + 0.5)
        if n >= 64 and self.options.test_fraction > 0:
            test = max(test, 16)
        return {
            name: r for name, r in (("train", range(n - test)), ("test", range(n - test, n))) if r
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """How it was opened, not what it found: another process opens it again."""
        return type(self), (self.input, self.options)
