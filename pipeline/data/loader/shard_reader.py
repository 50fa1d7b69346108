"""The tars of one resolution, read by span: a data member and the JSON beside it, both checked."""

import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from pipeline.data.format.decoders import BLOCK, DECODERS, SUFFIXES
from pipeline.data.format.index import Index
from pipeline.data.format.manifest import Manifest
from pipeline.data.format.shard_list import ShardList
from pipeline.data.format.tar import members_in
from pipeline.data.loader.shuffle import Ints
from pipeline.data.pixels import Pixels
from pipeline.storage.store import Store
from stylealae.errors import DataError

__all__ = ["Span", "Tars"]


@dataclass(frozen=True, eq=False)
class Span:
    """What lies in one span of a tar."""

    data: memoryview
    """Raw pixels [n, C, R, R], or one encoded image."""
    text: memoryview
    """The JSON."""

    @cached_property
    def beside(self) -> dict[str, Any]:
        """What the JSON says: ids, labels, shape."""
        found: dict[str, Any] = json.loads(bytes(self.text))
        return found


class Tars:
    """The tars of one resolution."""

    OPEN = 256  # indexes and blocks kept at hand; a block may hold a file descriptor

    def __init__(self, store: Store, manifest: Manifest, resolution: int) -> None:
        """Read the list of shards."""
        if resolution not in manifest.resolutions:
            raise DataError(
                f"{store.where} has no images of {resolution}x{resolution}, only of "
                f"{', '.join(map(str, manifest.resolutions))}: prepare it with that resolution, "
                "into a new folder, or change model.resolution"
            )
        self.store, self.encoding = store, manifest.encoding[resolution]
        if self.encoding not in SUFFIXES:
            raise DataError(
                f"{store.where} holds images encoded as {self.encoding!r}, known are "
                f"{', '.join(SUFFIXES)}: prepare it with this version, into a new folder"
            )
        self.list = ShardList.read(store, manifest, resolution)
        self.shape = (manifest.channels, resolution, resolution)
        self.index = lru_cache(maxsize=self.OPEN)(self._read_index)
        kept = self.OPEN if self.encoding == BLOCK else 0
        self.span = lru_cache(maxsize=kept)(self._read_span)

    def copy(self, shard: int, span: int, offsets: Ints, rows: Ints, into: Pixels) -> None:
        """Put images number `offsets` of a span into `into[rows]`; DamageError if they are bad."""
        found = self.span(shard, span)
        if self.encoding == BLOCK:
            self.store.guard(self.index(shard).piece(span))
            block: Pixels = np.frombuffer(found.data, np.uint8)
            into[rows] = block.reshape(-1, *self.shape)[offsets]
            return
        for row in rows:
            try:
                DECODERS[self.encoding](found.data, into[row])
            except ValueError as error:
                piece = self.index(shard).piece(span)
                raise self.store.damaged(
                    piece.name, f"{piece.what} cannot be decoded ({error})"
                ) from error

    def _read_index(self, shard: int) -> Index:
        piece = self.list.index_piece(shard)
        tail = self.store.piece(piece)
        try:
            index = Index.parse(piece.name, tail, piece.start)
            if index.first[-1] != self.list.samples[shard]:
                raise ValueError(f"it counts {index.first[-1]} images")
        except (ValueError, KeyError, TypeError) as error:
            raise self.store.damaged(piece.name, f"its index cannot be read ({error})") from error
        return index

    def _read_span(self, shard: int, span: int) -> Span:
        index = self.index(shard)
        piece = self.store.piece(index.piece(span), mapped=self.encoding == BLOCK)
        return self.parse(index, span, piece)

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
            raise self.store.damaged(index.name, f"{what} holds {error}") from error
        return Span(pixels, parts[".json"])
