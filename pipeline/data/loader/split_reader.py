"""Random access to the images of one split at one resolution, by sample id.

n images asked for, N images of the split, C channels, R resolution
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from pipeline.data.format.decoders import BLOCK
from pipeline.data.format.labels import is_class
from pipeline.data.format.types import Floats, Ints, Label
from pipeline.data.loader.shard_reader import ShardReader, Span
from pipeline.data.pixels import Pixels
from pipeline.storage.pieces import DamageError
from stylealae.errors import DataError

__all__ = ["SplitReader"]

log = logging.getLogger(__name__)

FETCHERS = 16  # downloads at once
KEPT_BYTES = 64 << 20
"""A cache of less may lose what was fetched ahead before it is asked for."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class SpanRows:
    """What is wanted of one span."""

    shard: int
    span: int
    rows: Ints
    """[k] which of the images asked for."""
    offsets: Ints
    """[k] their numbers in the span."""


class SplitReader:
    """The images of a split; held in memory where they fit, else read where they lie."""

    def __init__(
        self,
        reader: ShardReader,
        split: str,
        *,
        label: str = "",
        ram_bytes: float = 0,
        max_broken: int = 0,
        threads: int = 1,
    ) -> None:
        """Look up the split; no image is read yet. `threads` decode, where there is to decode.

        Of a label of classes, `gender:Male` is 1 where it is that class and 0 where it is another.
        """
        manifest, where = reader.manifest, reader.pieces.storage.where
        self._reader = reader
        self._label, self.named_class = label, ""
        if label not in manifest.labels:
            self._label, _, self.named_class = label.partition(":")
        if not manifest.samples(split):
            raise DataError(
                f"{where} has no images in the split {split!r}; its splits are "
                f"{', '.join(manifest.splits)}: change data.split"
            )
        if label and self._label not in manifest.labels:
            raise DataError(
                f"{where} has no label {label!r}, only {', '.join(manifest.labels) or 'none'}"
                ": change data.label"
            )
        self._numbers = manifest.shards_of(split)
        mine = slice(self._numbers.start, self._numbers.stop)
        self.shard_samples: Ints = reader.shards.samples[mine]
        self._first: Ints = np.concatenate([[0], np.cumsum(self.shard_samples)])
        self.samples, self.max_broken = int(self._first[-1]), max_broken
        self.image_bytes = int(np.prod(reader.shape))
        self.broken: set[int] = set()
        """Ids of the samples that could not be used; another image of their shard stands in."""
        self.replaced = 0
        """How many of the images given out were such stand-ins."""
        self._decoders = None
        if reader.encoding != BLOCK:
            self._decoders = ThreadPoolExecutor(threads, "decode")
        self._fetchers: ThreadPoolExecutor | None = None
        self._held: tuple[Pixels, Floats | None] | None = None
        if self.samples * self.image_bytes <= ram_bytes:
            self._held = self._empty(self.samples)
            self._loaded = np.zeros(self.samples, np.bool_)
            self._damage: dict[int, DamageError] = {}

    def take(self, ids: Ints) -> tuple[Pixels, Floats | None]:
        """[n] sample ids -> [n, C, R, R] uint8, and [n] values of the label where one is asked."""
        if self._held is None:
            found = self._empty(len(ids))
            damage = self._fill(ids, np.arange(len(ids)), *found)
            self._count([(int(ids[row]), error) for row, error in damage.items()])
            return found
        self._hold(ids)
        if self._damage:
            self._count([(i, self._damage[i]) for i in ids.tolist() if i in self._damage])
        x, labels = self._held
        return np.take(x, ids, axis=0), None if labels is None else labels[ids]

    def values(self, ids: Ints) -> Floats:
        """[n] sample ids -> [n] values of the label, without the pixels."""
        return np.array([self._number(value) for value in self.labels(ids)], np.float32)

    def labels(self, ids: Ints) -> list[Label]:
        """[n] sample ids -> the label of each as it was prepared, without the pixels."""
        found: list[Label] = [None] * len(ids)
        replaced: list[tuple[int, DamageError]] = []
        for part in self._parts(ids):
            read = partial(self._labels_of, part.shard)
            try:
                values = read(part.span, part.offsets)
            except DamageError as error:
                if not self.max_broken:
                    raise
                values = self._stand_in(part, read)
                replaced += [(int(i), error) for i in ids[part.rows]]
            for row, value in zip(part.rows, values, strict=True):
                found[row] = value
        self._count(replaced)
        return found

    def prefetch(self, ids: Ints) -> None:
        """Begin to bring images into the local cache; what fails is raised when it is taken.

        Those that are held in memory are not looked up there. Without a cache that would keep them
        they are fetched when they are taken, several at once.
        """
        if self._held is not None:
            ids = ids[~self._loaded[ids]]
        if self._fetchers is None:
            self._fetchers = ThreadPoolExecutor(FETCHERS, "fetch")
        if self._reader.pieces.kept_bytes < KEPT_BYTES:
            return
        for shard, rows in self._by_shard(ids):
            self._fetchers.submit(self._fetch, shard, ids[rows])

    def close(self) -> None:
        """Let go of what is not fetched yet."""
        if self._fetchers is not None:
            self._fetchers.shutdown(wait=False, cancel_futures=True)
            self._fetchers = None

    def _empty(self, n: int) -> tuple[Pixels, Floats | None]:
        labels = np.empty(n, np.float32) if self._label else None
        return np.empty((n, *self._reader.shape), np.uint8), labels

    def _hold(self, ids: Ints) -> None:
        """Bring the spans of these images into memory."""
        missing = ids[~self._loaded[ids]]
        if not len(missing):
            return
        assert self._held is not None
        spans = []
        for part in self._parts(missing):
            first = self._reader.index(part.shard).first + self._first_of(part.shard)
            spans.append(np.arange(first[part.span], first[part.span + 1]))
        whole = np.concatenate(spans)
        self._damage |= self._fill(whole, whole, *self._held)
        self._loaded[whole] = True

    def _fill(
        self, ids: Ints, rows: Ints, x: Pixels, labels: Floats | None
    ) -> dict[int, DamageError]:
        """Put image ids[i] into x[rows[i]]; gives back why rows hold a stand-in.  [n], [n]"""
        parts = list(self._parts(ids))
        damage: dict[int, DamageError] = {}

        def copier(part: SpanRows) -> Callable[[int, Ints], None]:
            return partial(self._copy, part.shard, rows[part.rows], x, labels)

        def copy(part: SpanRows) -> DamageError | None:
            try:
                copier(part)(part.span, part.offsets)
            except DamageError as error:
                return error
            return None

        run = self._decoders.map if self._decoders else map
        if self._fetchers and self._reader.pieces.kept_bytes < KEPT_BYTES:
            run = self._fetchers.map
        for part, error in zip(parts, run(copy, parts), strict=True):
            if error is not None:
                if not self.max_broken:
                    raise error
                self._stand_in(part, copier(part))
                damage |= dict.fromkeys(rows[part.rows].tolist(), error)
        return damage

    def _copy(
        self, shard: int, rows: Ints, x: Pixels, labels: Floats | None, span: int, offsets: Ints
    ) -> None:
        found = self._reader.copy(shard, span, offsets, rows, x)
        if labels is not None:
            labels[rows] = [self._number(value) for value in self._labels_in(found, offsets)]

    def _labels_of(self, shard: int, span: int, offsets: Ints) -> list[Label]:
        return self._labels_in(self._reader.span(shard, span), offsets)

    def _labels_in(self, span: Span, offsets: Ints) -> list[Label]:
        values = span.description["labels"][self._label]
        return [values[offset] for offset in offsets]

    def _number(self, value: Label) -> float:
        if value is None:
            return float("nan")
        if self.named_class:
            return float(is_class(value, self.named_class))
        if isinstance(value, str):
            raise DataError(
                f"the label {self._label!r} holds text such as {value!r}: name one of its classes, "
                f"{self._label}:{value}, or number them and prepare again"
            )
        return float(value)

    def _stand_in(self, part: SpanRows, use: Callable[[int, Ints], T]) -> T:
        """What `use` makes of the next intact span of the same shard: the same on any rank."""
        index = self._reader.index(part.shard)
        spans = len(index.sha256)
        for step in range(1, spans):
            span = (part.span + step) % spans
            offsets = part.offsets % int(index.first[span + 1] - index.first[span])
            with suppress(DamageError):
                return use(span, offsets)
        pieces = self._reader.pieces
        raise DataError(f"{pieces.storage.at(index.name)} holds no intact image: {pieces.mend}")

    def _count(self, replaced: list[tuple[int, DamageError]]) -> None:
        """Note what was replaced; too much of it stops the run."""
        self.replaced += len(replaced)
        new = {i: error for i, error in replaced if i not in self.broken}
        self.broken |= new.keys()
        for error in dict.fromkeys(new.values()):
            if len(self.broken) > self.max_broken:
                raise DataError(
                    f"{error}. That makes {len(self.broken)} unusable images, data.max_broken is "
                    f"{self.max_broken}"
                )
            log.warning(
                "%s. Other images stand in for %d of its images now, for %d images in all; "
                "data.max_broken is %d",
                *(error, list(new.values()).count(error), len(self.broken), self.max_broken),
            )

    def _by_shard(self, ids: Ints) -> Iterator[tuple[int, Ints]]:
        """[n] -> each shard with the rows that lie in it."""
        inside = np.searchsorted(self._first, ids, side="right") - 1
        for number in np.unique(inside):
            yield self._numbers[int(number)], np.flatnonzero(inside == number)

    def _parts(self, ids: Ints) -> Iterator[SpanRows]:
        """[n] -> what is wanted of which span."""
        for shard, rows in self._by_shard(ids):
            index = self._reader.index(shard)
            offsets = ids[rows] - self._first_of(shard)
            spans = index.spans_of(offsets)
            for span in np.unique(spans):
                here = spans == span
                yield SpanRows(shard, int(span), rows[here], offsets[here] - index.first[span])

    def _first_of(self, shard: int) -> int:
        """Id of a shard's first sample."""
        return int(self._first[shard - self._numbers.start])

    def _fetch(self, shard: int, ids: Ints) -> None:
        index = self._reader.index(shard)
        for span in np.unique(index.spans_of(ids - self._first_of(shard))):
            self._reader.pieces.get(index.piece(int(span)))
