"""The shards of a dataset at one resolution, `r0064/shards.json`: lengths and hashes, in columns.

S shards of the dataset
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.format.manifest import MANIFEST, Manifest, Shard, Split, tar_name
from pipeline.data.format.types import Ints
from pipeline.storage.pieces import Piece, Pieces

__all__ = ["ShardList", "list_name", "splits_of"]


@dataclass(frozen=True, eq=False)
class ShardList:
    """The tars of one resolution."""

    resolution: int
    """Side of the images in pixels."""
    samples: Ints
    """[S] images in each shard."""
    bytes: Ints
    """[S] length of its tar."""
    sha256: Sequence[str]
    """[S] hash of its tar."""
    index_at: Ints
    """[S] where the tar's index begins."""
    index_sha256: Sequence[str]
    """[S] hash of the tar from there on."""

    @classmethod
    def of(cls, shards: Sequence[Shard], resolution: int) -> "ShardList":
        """The columns of these shards, which are numbered in their order."""
        files = [shard.files[resolution] for shard in shards]
        return cls(
            resolution,
            samples=np.asarray([shard.samples for shard in shards], np.int64),
            bytes=np.asarray([file.bytes for file in files], np.int64),
            sha256=[file.sha256 for file in files],
            index_at=np.asarray([file.index_at for file in files], np.int64),
            index_sha256=[file.index_sha256 for file in files],
        )

    @classmethod
    def read(cls, pieces: Pieces, manifest: Manifest, resolution: int) -> "ShardList":
        """The list that the manifest means; DataError for any other."""
        name = list_name(resolution)
        try:
            text = pieces.storage.read(name)
        except (FileNotFoundError, NotADirectoryError):
            raise pieces.damaged(name, f"it is missing, and {MANIFEST} lists it") from None
        if hashlib.sha256(text).hexdigest() != manifest.shards[resolution]:
            raise pieces.damaged(
                name,
                f"it does not have the sha256 that {MANIFEST} says: it was cut or changed, or one "
                "of the two is of another dataset",
            )
        found = json.loads(text)
        return cls(
            resolution,
            samples=np.asarray(found["samples"], np.int64),
            bytes=np.asarray(found["bytes"], np.int64),
            sha256=found["sha256"],
            index_at=np.asarray(found["index_at"], np.int64),
            index_sha256=found["index_sha256"],
        )

    def text(self) -> str:
        """What shards.json holds."""
        columns = {
            "samples": self.samples.tolist(),
            "bytes": self.bytes.tolist(),
            "sha256": self.sha256,
            "index_at": self.index_at.tolist(),
            "index_sha256": self.index_sha256,
        }
        return json.dumps(columns, separators=(",", ":")) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of shards.json, as the manifest holds it."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def index_piece(self, number: int) -> Piece:
        """Where the index of a tar lies: everything from `index_at` on."""
        return Piece(
            tar_name(number, self.resolution),
            int(self.index_at[number]),
            int(self.bytes[number]),
            self.index_sha256[number],
            "its index",
        )


def list_name(resolution: int) -> str:
    """The name of a resolution's list inside the dataset."""
    return f"r{resolution:04d}/shards.json"


def splits_of(shards: Sequence[Shard]) -> dict[str, Split]:
    """The splits that these shards form, in their order."""
    names = dict.fromkeys(shard.split for shard in shards)
    parts = {name: [s.samples for s in shards if s.split == name] for name in names}
    return {name: Split(shards=len(part), samples=sum(part)) for name, part in parts.items()}
