"""The last member of a tar, `__index__`: where its samples lie, and what their bytes hash to.

A span is one JSON member and the data member after it, headers and padding included: what plain
webdataset calls a sample. Spans lie end to end, the index follows them, and the manifest's hash of
the index covers the rest of the file: so every byte of a tar is under exactly one of these hashes,
and any span can be fetched and checked alone. Plain webdataset passes over members named `__...__`.
"""

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.format.tar import members_in
from pipeline.data.format.types import Ints
from pipeline.storage.pieces import Piece

__all__ = ["INDEX", "Index", "index_tail"]

INDEX = "__index__"


@dataclass(frozen=True, eq=False)
class Index:
    """The spans of one tar."""

    name: str
    """The tar's name in the dataset."""
    at: Ints
    """[k + 1] where each span begins; the last entry is where they end and the index begins."""
    first: Ints
    """[k + 1] which sample of the shard each span begins with; the last is how many there are."""
    sha256: Sequence[str]
    """[k] hash of each span."""

    @classmethod
    def parse(cls, name: str, tail: memoryview, at: int) -> "Index":
        """From the end of the tar that begins at `at`; ValueError if it makes no sense."""
        member = next(members_in(tail), None)
        if member is None or member.name != INDEX:
            raise ValueError(f"no member {INDEX}")
        try:
            found = json.loads(bytes(tail[member.offset : member.offset + member.size]))
            begins, counts, hashes = found["at"], found["samples"], found["sha256"]
            sound = all(type(n) is int and n >= 0 for n in (*begins, *counts))
            sound &= all(isinstance(text, str) for text in hashes)
            spans: Ints = np.asarray([*begins, at], dtype=np.int64)
            samples: Ints = np.asarray(counts, dtype=np.int64)
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"its columns cannot be read ({error!r})") from error
        if not sound:
            raise ValueError("its columns are not of numbers of bytes, of images and of hashes")
        if not len(spans) - 1 == len(samples) == len(hashes) or (np.diff(spans) < 0).any():
            raise ValueError("its columns do not fit together")
        return cls(name, spans, np.concatenate([[0], np.cumsum(samples)]), hashes)

    def piece(self, span: int) -> Piece:
        """The bytes of one span."""
        first, end = int(self.first[span]), int(self.first[span + 1])
        what = f"image {first}" if end == first + 1 else f"the block of images {first} to {end - 1}"
        return Piece(self.name, int(self.at[span]), int(self.at[span + 1]), self.sha256[span], what)

    def spans_of(self, offsets: Ints) -> Ints:
        """[n] samples of the shard -> [n] the spans that they lie in."""
        return np.searchsorted(self.first, offsets, side="right") - 1


def index_tail(at: Sequence[int], samples: Sequence[int], sha256: Sequence[str]) -> bytes:
    """The end of a tar: the index of its spans, which begin and end `at`, and the end mark."""
    columns = {"at": list(at[:-1]), "samples": list(samples), "sha256": list(sha256)}
    content = json.dumps(columns, separators=(",", ":")).encode()
    info = tarfile.TarInfo(INDEX)
    info.size, info.mode = len(content), 0o444
    tail = info.tobuf(tarfile.USTAR_FORMAT) + content
    tail += bytes(-len(tail) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
    return tail + bytes(-(at[-1] + len(tail)) % tarfile.RECORDSIZE)
