"""What a source of images is: (key, uint8 HWC, labels), one by one, in a fixed order.

A source is random access. Pickling one stores only how it was opened, and another process opens it
again; pickling a part of one, where a source has such, stores what is known of a few images, and
nothing is listed again. `read` raises DataError for an image that cannot be used; the caller counts
it.
"""

import importlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Self, TypeVar

from pipeline.data.format.types import Label
from pipeline.data.pixels import Pixels
from pipeline.data.sources.left_aside import LeftAside
from stylealae.errors import DataError, did_you_mean

__all__ = ["Options", "Sample", "Source", "needed", "with_state"]

log = logging.getLogger(__name__)

S = TypeVar("S", bound="Source")
LEAST_TESTS = 16  # of 64 images and more, where no share is given


@dataclass(frozen=True)
class Sample:
    """One image with its name and what is known about it."""

    key: str
    """Name of the image inside the source, unique there."""
    image: Pixels
    """[H, W, C] uint8, upright."""
    labels: Mapping[str, Label]
    """A value for each of the source's label names."""
    changes: tuple[str, ...] = ()
    """What the file had to be converted from, such as `palette to RGB`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may say about an input."""

    channels: int | None = None
    """1 or 3; None is the source's own."""
    test_fraction: float | None = None
    """Share of the images, from the end, that form the test split; None is the source's split."""
    licence: str | None = None
    """Licence of the images; None is the source's own."""
    labels: str | None = None
    """A file of labels to take instead of the source's own."""
    folder_labels: bool = False
    """Whether the folder that an image lies in is a label too."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels is {self.channels}: images are grey (1) or RGB (3)")
        if self.test_fraction is not None and not 0 <= self.test_fraction < 1:
            raise DataError(
                f"test_fraction is {self.test_fraction}: it is a share, from 0 to below 1"
            )
        if self.labels is not None and not Path(self.labels).is_file():
            mend = did_you_mean(Path(self.labels)) or ": give a file of labels"
            raise DataError(f"{self.labels} is no file{mend}")


class Source(ABC):
    """Images 0 ... len - 1 of one input."""

    name: str
    """Kind of source: a key of `sources.SOURCES`."""
    licence = "not stated"
    channels = 3
    test_fraction = 1 / 50
    decodes = True
    """Whether it reads files of others with decoders, of which one may never end."""
    takes_labels = False
    """Whether a file of labels can be given."""
    label_names: tuple[str, ...] = ()

    def __init__(self, input: str, options: Options) -> None:
        """Open `input`; subclasses list what it holds."""
        self.input, self.options = input, options
        self.channels = options.channels or self.channels
        self.licence = options.licence or self.licence
        self.left_aside = LeftAside()
        self.notes: list[str] = []  # what people should know of how the input was understood

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal inputs, wherever they lie; another content makes another one."""
        return ""

    @cached_property
    def copies(self) -> dict[str, str]:
        """Images that are copies of others, and of which, as far as is known without decoding."""
        return {}

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether `path` looks like such an input; `entries` are the names in a folder or zip."""
        return False

    @abstractmethod
    def __len__(self) -> int:
        """Number of images, broken ones included."""

    @abstractmethod
    def key(self, i: int) -> str:
        """Name of image i."""

    @abstractmethod
    def read(self, i: int, side: int = 256) -> Sample:
        """Image i; sources that have it in several sizes choose one for a picture of `side`."""

    @property
    def tests(self) -> int | None:
        """How many images, from the end, the input itself sets aside for tests; None is unsaid."""
        return None

    @property
    def splits(self) -> dict[str, range]:
        """Which images belong to which split: contiguous ranges that cover all images."""
        n, fraction = len(self), self.options.test_fraction
        tests = self.tests if fraction is None else None
        if tests is None:
            tests = math.floor(n * (self.test_fraction if fraction is None else fraction) + 0.5)
            if fraction is None and n >= 64:
                tests = max(tests, LEAST_TESTS)
        parts = (("train", range(n - tests)), ("test", range(n - tests, n)))
        return {name: part for name, part in parts if part}

    def label_summary(self) -> dict[str, str]:
        """For each label what its values are, as far as is known without reading the images."""
        return dict.fromkeys(self.label_names, "")

    def report(self) -> None:
        """Log what was left aside in opening the input, and what is to be known of it."""
        for note in self.notes:
            log.warning("%s", note)
        if self.left_aside:
            log.warning("%s: left aside %s", self.input, self.left_aside)

    def part(self, start: int, stop: int) -> Self:
        """The source, for another process that reads images from `start` up to `stop` alone.

        Of one that is cheap to open again it is the source itself.
        """
        return self

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """How it was opened, not what it found: another process opens it again."""
        return _opened_again, (type(self), self.input, self.options)


def _opened_again(kind: Callable[[str, Options], Source], input: str, options: Options) -> Source:
    try:
        return kind(input, options)
    except OSError as error:
        raise DataError(f"{input} cannot be read ({error})") from error


def with_state(kind: type[S], state: Mapping[str, object]) -> S:
    """A source that is not opened, for this is all that it has to know."""
    made = object.__new__(kind)
    made.__dict__.update(state)
    return made


def needed(library: str, what: str, extra: str = "sources") -> ModuleType:
    """A library that only some inputs need; DataError says with which extra it comes."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise DataError(
            f"reading {what} needs {library}, which is not installed: "
            f"pip install 'stylealae[{extra}]'"
        ) from error
