"""Which shards to make of a source, and how: fixed from the start, whoever makes them."""

import hashlib
from dataclasses import dataclass
from typing import Any, TypedDict

from pipeline.data.format.manifest import FORMAT
from pipeline.data.pixels import FITS, Fit
from pipeline.data.prepare.destination import NOTES, Destination
from pipeline.data.sources.source import Source
from stylealae.errors import DataError

__all__ = ["PrepareOptions", "ShardJob", "ShardNote", "jobs_of", "listing_of", "recipe_of"]


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How shards are made."""

    resolutions: tuple[int, ...]
    """Sides in pixels, powers of two."""
    fit: Fit = "crop"
    """What makes an image square."""
    shard_img: int = 1024
    """Images in a shard."""
    max_broken: int | None = None
    """More unusable images than this stop the work; None allows any number."""

    def __post_init__(self) -> None:
        """Put the resolutions in ascending order, and refuse what cannot be made."""
        sides = tuple(sorted(set(self.resolutions)))
        if not sides or any(side < 4 or side & (side - 1) for side in sides):
            raise DataError(
                f"resolutions are {list(self.resolutions)}: give powers of two from 4 up, as 4 8 16"
            )
        if self.shard_img < 1:
            raise DataError(f"shard_img is {self.shard_img}: a shard covers at least 1 image")
        if self.fit not in FITS:
            raise DataError(f"fit is {self.fit!r}: choose {' or '.join(FITS)}")
        object.__setattr__(self, "resolutions", sides)


@dataclass(frozen=True)
class ShardJob:
    """One shard to make: a range of source indices, at every resolution."""

    number: int
    split: str
    start: int
    stop: int
    out: Destination
    how: PrepareOptions
    listing: str
    """Of the images' names, by `listing_of`."""
    given_up: tuple[int, ...] = ()
    """Source indices of images that took too long to read."""

    @property
    def images(self) -> int:
        """Number of source indices that it covers."""
        return self.stop - self.start

    @property
    def note(self) -> str:
        """Name of the file that says that the shard is finished, and what is in it."""
        return f"{NOTES}/{self.number:06d}.json"


class ShardNote(TypedDict):
    """What is in a finished shard, as its note's JSON holds it."""

    number: int
    samples: int
    changes: dict[str, int]
    """How many images were converted, by what was done to them."""
    refused: list[dict[str, str]]
    """`name` and `reason` of the inputs that were left out."""
    files: dict[str, dict[str, Any]]
    """The fields of a `ShardFile` by resolution."""


def jobs_of(source: Source, out: Destination, how: PrepareOptions) -> list[ShardJob]:
    """Fixed ranges of source indices, none across a split's end."""
    pieces = [
        (split, start, min(start + how.shard_img, whole.stop))
        for split, whole in source.splits.items()
        for start in range(whole.start, whole.stop, how.shard_img)
    ]
    return [
        ShardJob(number, split, start, stop, out, how, listing_of(source, start, stop))
        for number, (split, start, stop) in enumerate(pieces)
    ]


def listing_of(source: Source, start: int, stop: int) -> str:
    """A hash of the names of a range of images, as far as there are such."""
    found = hashlib.sha256()
    for i in range(start, min(stop, len(source))):
        found.update(f"{source.key(i)}\0".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def recipe_of(source: Source, how: PrepareOptions) -> dict[str, str]:
    """What decides the bytes of the shards: another recipe makes another dataset."""
    return {
        "format": str(FORMAT),
        "source": source.name,
        "images": str(len(source)),
        "fingerprint": source.fingerprint,
        "channels": str(source.channels),
        "splits": ", ".join(f"{name} {len(part)}" for name, part in source.splits.items()),
        "resolutions": " ".join(map(str, how.resolutions)),
        "fit": how.fit,
        "shard_img": str(how.shard_img),
    }
