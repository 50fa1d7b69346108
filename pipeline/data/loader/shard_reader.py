"""The tars of one resolution, read by span: a data member and the JSON beside it, both checked."""

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self, TypedDict

import numpy as np

from pipeline.data.format.decoders import BLOCK, DECODERS, SUFFIXES
from pipeline.data.format.index import Index
from pipeline.data.format.manifest import Manifest
from pipeline.data.format.shard_list import ShardList
from pipeline.data.format.tar import members_in
from pipeline.data.format.types import Ints, Label
from pipeline.data.pixels import Pixels
from pipeline.storage.pieces import Pieces
from pipeline.storage.storage import Sleep
from stylealae.errors import DataError

__all__ = ["ShardReader", "Span"]


class Description(TypedDict):
    """What the JSON of a span says (docs/format.md)."""

    count: int
    shape: list[int]
    sha256: str
    ids: list[str]
    labels: dict[str, list[Label]]


@dataclass(frozen=True, eq=False)
class Span:
    """What lies in one span of a tar."""

    data: memoryview
    """Raw pixels [n, C, R, R], or one encoded image."""
    text: memoryview
    """The JSON."""

    @cached_property
    def description(self) -> Description:
        """What the JSON says."""
        found: Description = json.loads(bytes(self.text))
        return found


class ShardReader:
    """The tars of one resolution."""

    OPEN = 256  # indexes and blocks kept at hand; a block may hold a file descriptor

    def __init__(
        self, pieces: Pieces, manifest: Manifest, resolution: int, shards: ShardList | None = None
    ) -> None:
        """Read the list of shards, unless it is given."""
        where = pieces.storage.where
        if resolution not in manifest.resolutions:
            raise DataError(
                f"{where} has no images of {resolution}x{resolution}, only of "
                f"{', '.join(map(str, manifest.resolutions))}: prepare it with that resolution, "
                "into a new folder, or change model.resolution"
            )
        self.pieces, self.manifest = pieces, manifest
        self.encoding = manifest.encoding[resolution]
        if self.encoding not in SUFFIXES:
            raise DataError(
                f"{where} holds images encoded as {self.encoding!r}, known are "
                f"{', '.join(SUFFIXES)}: prepare it with this version, into a new folder"
            )
        self.shards = shards or ShardList.read(pieces, manifest, resolution)
        self.shape = (manifest.channels, resolution, resolution)
        self.index = lru_cache(maxsize=self.OPEN)(self._read_index)
        kept = self.OPEN if self.encoding == BLOCK else 0
        self.span = lru_cache(maxsize=kept)(self._read_span)

    def with_sleep(self, sleep: Sleep) -> Self:
        """The same tars for one caller, with a sleep of its own between retries."""
        pieces = self.pieces.with_sleep(sleep)
        return type(self)(pieces, self.manifest, self.shards.resolution, self.shards)

    def spans(self, shards: Collection[int] | None = None) -> Iterator[tuple[int, int]]:
        """Shard and number of every span of all shards, or of some, in order."""
        for shard in range(len(self.shards.sha256)) if shards is None else shards:
            for span in range(len(self.index(shard).sha256)):
                yield shard, span

    def copy(self, shard: int, span: int, offsets: Ints, rows: Ints, into: Pixels) -> Span:
        """Put images number `offsets` of a span into `into[rows]`; gives back the span.

        Raises:
            DamageError: they are bad.
        """
        found = self.span(shard, span)
        if self.encoding == BLOCK:
            self.pieces.guard(self.index(shard).piece(span))
            block: Pixels = np.frombuffer(found.data, np.uint8)
            into[rows] = block.reshape(-1, *self.shape)[offsets]
            return found
        for row in rows:
            try:
                DECODERS[self.encoding](found.data, into[row])
            except ValueError as error:
                piece = self.index(shard).piece(span)
                raise self.pieces.damaged(
                    piece.name, f"{piece.what} cannot be decoded ({error})"
                ) from error
        return found

    def parse(self, index: Index, span: int, data: memoryview) -> Span:
        """The two members of a span; DamageError if there are others, or not of that length."""
        count = int(index.first[span + 1] - index.first[span])
        try:
            members = list(members_in(data))
            parts = {
                os.path.splitext(m.name)[1]: data[m.offset : m.offset + m.size] for m in members
            }
            if set(parts) != {".json", SUFFIXES[self.encoding]} or len(members) != 2:
                raise ValueError(f"members named {', '.join(m.name for m in members)}")
            pixels = parts[SUFFIXES[self.encoding]]
            if self.encoding == BLOCK and len(pixels) != count * np.prod(self.shape):
                raise ValueError(f"{len(pixels):,} bytes for {count} images")
        except ValueError as error:
            what = index.piece(span).what
            raise self.pieces.damaged(index.name, f"{what} holds {error}") from error
        return Span(pixels, parts[".json"])

    def _read_index(self, shard: int) -> Index:
        piece = self.shards.index_piece(shard)
        tail = self.pieces.get(piece)
        try:
            index = Index.parse(piece.name, tail, piece.start)
            if index.first[-1] != self.shards.samples[shard]:
                raise ValueError(f"it counts {index.first[-1]} images")
        except (ValueError, KeyError, TypeError) as error:
            raise self.pieces.damaged(piece.name, f"its index cannot be read ({error})") from error
        return index

    def _read_span(self, shard: int, span: int) -> Span:
        index = self.index(shard)
        piece = self.pieces.get(index.piece(span), mapped=self.encoding == BLOCK)
        return self.parse(index, span, piece)
