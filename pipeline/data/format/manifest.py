"""What a dataset holds: counts, resolutions, hashes; written, and read back in constant time.

A dataset is a folder or an object-store prefix: `manifest.json`, and for every resolution
`r0064/shards.json` and the tars `r0064/000000.tar`, `r0064/000001.tar`, ... with the same samples
in the same order. The manifest holds the hash of each shards.json, which holds the hashes of the
tars; neither holds anything per sample. docs/format.md is the reference.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.storage import Storage, Where, data_storage
from stylealae.errors import DataError, did_you_mean

__all__ = [
    "DOWNSCALE",
    "FORMAT",
    "MANIFEST",
    "Manifest",
    "Refused",
    "Shard",
    "ShardFile",
    "Split",
    "tar_name",
]

FORMAT = 2
"""Version of the layout that docs/format.md describes; another one is refused."""
MANIFEST = "manifest.json"
DOWNSCALE = "mean2x2"
"""Successive 2x2 means in float from the largest resolution, rounded once at writing."""


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One tar: a shard at one resolution."""

    sha256: str
    """Hash of the whole file, hexadecimal."""
    bytes: int
    """Length of the file."""
    index_at: int
    """Where its last member, the index, begins."""
    index_sha256: str
    """Hash of everything from there on."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A run of consecutive samples of one split, held once per resolution."""

    number: int
    """Position in the dataset; it names the files."""
    split: str
    """The split that all of its samples belong to."""
    samples: int
    """Images in it: the same at every resolution."""
    files: Mapping[int, ShardFile]
    """The tar of each resolution."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """An input that was left out."""

    name: str
    """The file's name inside the source."""
    reason: str
    """Why it could not be used."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Consecutive shards that belong together."""

    shards: int
    """How many: the first split begins with shard 0, the next where it ends."""
    samples: int
    """Images in them."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about a dataset but its shards and samples."""

    source: str
    """Kind of source the images came from."""
    licence: str
    """Licence of the images, as the source or the user states it."""
    channels: int
    """1 for grey, 3 for RGB."""
    resolutions: tuple[int, ...]
    """Sides in pixels, ascending."""
    encoding: Mapping[int, str]
    """Per resolution `block` (raw uint8 NCHW), or `webp`, `png`, `jpeg` (a file a sample)."""
    downscale: str
    """Name of the filter that made the smaller resolutions from the largest."""
    labels: tuple[str, ...]
    """Names of the labels that stand beside the pixels."""
    broken: int
    """Inputs that could not be used."""
    refused: tuple[Refused, ...]
    """The first of them by name and reason."""
    enlarged: int
    """Images that were smaller than the largest resolution and were enlarged to it."""
    recipe: Mapping[str, str]
    """The input's fingerprint and the options: preparing again with others is refused."""
    splits: Mapping[str, Split]
    """The splits by name, in the order of their shards."""
    shards: Mapping[int, str]
    """SHA-256 of each resolution's shards.json."""

    @classmethod
    def read(cls, dataset: Where | Storage) -> "Manifest":
        """The manifest of a data set, opened or by path or URL.

        Raises:
            DataError: there is none, or none that can be read.
        """
        storage = dataset if isinstance(dataset, Storage) else data_storage(dataset)
        place = storage.at(MANIFEST)
        try:
            found = json.loads(storage.read(MANIFEST))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(_unprepared(storage)) from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                f"{place} cannot be read ({error}): run `stylealae prepare` again"
            ) from error
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise DataError(
                f"{place} has format {version!r} and this version reads format {FORMAT}: "
                "prepare the dataset anew, into an empty folder"
            )
        try:
            return _from_json(found)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{place} is damaged ({error!r}): run `stylealae prepare` again"
            ) from error

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: equal for equal datasets, on any machine."""
        text = json.dumps(self.json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def shards_of(self, split: str) -> range:
        """Numbers of the shards of one split; none for an unknown name."""
        end = 0
        for name, part in self.splits.items():
            begin, end = end, end + part.shards
            if name == split:
                return range(begin, end)
        return range(0)

    def samples(self, split: str) -> int:
        """Number of images in one split; 0 for an unknown name."""
        return self.splits[split].samples if split in self.splits else 0

    def require_channels(self, channels: int, where: str) -> None:
        """Refuses the data set at `where` for networks of other channels than its images have.

        Raises:
            DataError: it says what to prepare or to train.
        """
        if channels != self.channels:
            raise DataError(
                f"the images of {where} have {self.channels} channel{'s'[: self.channels - 1]}, "
                f"and the model takes {channels}: prepare them with --channels {channels}, or "
                f"train a model of their own with model.channels={self.channels}"
            )

    def json(self) -> dict[str, object]:
        """What manifest.json holds."""
        return {"format": FORMAT, **asdict(self)}


def _unprepared(storage: Storage) -> str:
    """Why there is no data set, and what to do: prepare one, or name one that is near."""
    where, path = storage.where, Path(storage.where)
    if storage.remote:
        return f"{where} holds no {MANIFEST}, so it is no prepared data set: correct the URL"
    if not path.exists() and (near := did_you_mean(path)):
        return f"{where} does not exist{near}"
    inside = sorted(child.parent for child in path.glob(f"*/{MANIFEST}"))
    if inside:
        return f"{where} holds no {MANIFEST}: did you mean {inside[0]}?"
    made = f"stylealae prepare {where if path.exists() else 'IMAGES'} --out FOLDER"
    if path.is_file():
        name = "the folder that it is in" if path.name == MANIFEST else "a folder"
        return f"{where} is a file, and a prepared data set is a folder: name {name}"
    return f"{where} holds no {MANIFEST}, so it is no prepared data set: make one with `{made}`"


def _from_json(found: dict[str, Any]) -> Manifest:
    resolutions = tuple(_count(r) for r in found["resolutions"])
    if not resolutions or any(r < 4 or r & (r - 1) for r in resolutions):
        raise ValueError(f"its resolutions are {list(resolutions)}")
    if found["channels"] not in (1, 3):
        raise ValueError(f"its channels are {found['channels']!r}")
    return Manifest(
        source=str(found["source"]),
        licence=str(found["licence"]),
        channels=_count(found["channels"]),
        resolutions=resolutions,
        encoding={r: str(found["encoding"][str(r)]) for r in resolutions},
        downscale=str(found["downscale"]),
        labels=tuple(str(name) for name in found["labels"]),
        broken=_count(found["broken"]),
        refused=tuple(
            Refused(name=str(entry["name"]), reason=str(entry["reason"]))
            for entry in found["refused"]
        ),
        enlarged=_count(found["enlarged"]),
        recipe=dict(found["recipe"]),
        splits={
            str(name): Split(shards=_count(part["shards"]), samples=_count(part["samples"]))
            for name, part in found["splits"].items()
        },
        shards={r: str(found["shards"][str(r)]) for r in resolutions},
    )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of things")
    return value


def tar_name(number: int, resolution: int) -> str:
    """The name of a shard's tar inside the dataset: `r0064/000012.tar`."""
    return f"r{resolution:04d}/{number:06d}.tar"
