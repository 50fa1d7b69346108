"""What a shard set holds: counts, resolutions, hashes; write, read and verify.

A dataset is a folder: `manifest.json`, `r0004/000000.tar`, `r0004/000001.tar`, `r0008/...`.
Every resolution has the same shards with the same samples in the same order, and a shard belongs
to one split. Nothing in the manifest is per sample: ids and labels lie in the shards.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stylealae.errors import DataError

__all__ = [
    "DOWNSCALE",
    "FORMAT",
    "MANIFEST",
    "Manifest",
    "Refused",
    "Shard",
    "ShardFile",
    "sha256_of",
    "shard_path",
    "verify",
    "write_json",
]

FORMAT = 1
"""Version of the layout described above; another one is refused."""
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
class Manifest:
    """Everything about a shard set but the samples themselves."""

    source: str
    """Kind of source the images came from."""
    licence: str
    """Licence of the images, as the source or the user states it."""
    channels: int
    """1 for grey, 3 for RGB."""
    resolutions: tuple[int, ...]
    """Sides in pixels, ascending."""
    encoding: Mapping[int, str]
    """Per resolution `block` (raw uint8 NCHW members) or `webp` (one lossless WebP a sample)."""
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
    shards: tuple[Shard, ...]
    """All shards, in order; those of one split are consecutive."""

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of the dataset in `folder`; DataError if there is none that can be read."""
        path = Path(folder) / MANIFEST
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            raise DataError(
                f"{folder} holds no {MANIFEST}, so it is no prepared dataset: "
                "make one with `stylealae prepare`, or correct data.path"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read ({error}): run `stylealae prepare` again"
            ) from error
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise DataError(
                f"{path} has format {version!r} and this version reads format {FORMAT}: "
                "prepare the dataset anew, into an empty folder"
            )
        try:
            return _from_json(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path} is damaged ({error!r}): run `stylealae prepare` again"
            ) from error

    def write(self, folder: Path) -> None:
        """Put `manifest.json` into `folder`, whole or not at all."""
        write_json(Path(folder) / MANIFEST, self._json())

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: equal for equal datasets, on any machine."""
        text = json.dumps(self._json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in order."""
        return tuple(dict.fromkeys(shard.split for shard in self.shards))

    def shards_of(self, split: str) -> tuple[Shard, ...]:
        """The shards of one split, in order; none for an unknown name."""
        return tuple(shard for shard in self.shards if shard.split == split)

    def samples(self, split: str) -> int:
        """Number of images in one split; 0 for an unknown name."""
        return sum(shard.samples for shard in self.shards_of(split))

    def _json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}


def _from_json(found: dict[str, Any]) -> Manifest:
    shards = tuple(
        Shard(
            number=int(s["number"]),
            split=str(s["split"]),
            samples=int(s["samples"]),
            files={int(r): ShardFile(**file) for r, file in s["files"].items()},
        )
        for s in found["shards"]
    )
    resolutions = tuple(int(r) for r in found["resolutions"])
    for shard in shards:
        if tuple(shard.files) != resolutions or shard.samples < 0:
            raise ValueError(f"shard {shard.number} does not hold every resolution")
    return Manifest(
        source=str(found["source"]),
        licence=str(found["licence"]),
        channels=int(found["channels"]),
        resolutions=resolutions,
        encoding={int(r): str(name) for r, name in found["encoding"].items()},
        downscale=str(found["downscale"]),
        labels=tuple(found["labels"]),
        broken=int(found["broken"]),
        refused=tuple(Refused(**entry) for entry in found["refused"]),
        enlarged=int(found["enlarged"]),
        recipe=dict(found["recipe"]),
        shards=shards,
    )


def shard_path(folder: Path, number: int, resolution: int) -> Path:
    """Where the tar of a shard lies: `folder/r0064/000012.tar`."""
    return Path(folder) / f"r{resolution:04d}" / f"{number:06d}.tar"


def verify(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Read every tar and give back each departure from the manifest, as a sentence."""
    for shard in manifest.shards:
        for resolution, want in shard.files.items():
            path = shard_path(folder, shard.number, resolution)
            if not path.is_file():
                yield f"{path} is missing"
            elif (size := path.stat().st_size) != want.bytes:
                yield f"{path} has {size:,} bytes, the manifest says {want.bytes:,}"
            elif (found := sha256_of(path)) != want.sha256:
                yield f"{path} has sha256 {found}, the manifest says {want.sha256}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write `value` beside `path`, then rename: a reader sees the old file or the whole new one."""
    scratch = path.with_name(f".{path.name}.partial")
    with scratch.open("w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
