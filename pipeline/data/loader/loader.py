"""A data set -> batches, read ahead by a thread; resumable, the same images at any world size.

The state is one number, `seen`. The global batch at `seen` is positions seen ... seen + batch - 1
of the shuffle, and a rank takes its contiguous slice. `Loader.batches` lists the steps:

    positions -> sample ids -> pixels and labels -> flips -> device -> slices

N batch (of this rank), M = several batches in a row, C channels, R resolution
"""

import queue
import threading
import time
from collections import deque
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from pipeline.data.format.labels import written
from pipeline.data.format.types import Floats, Ints
from pipeline.data.loader.batch import Batch, DeviceCopy, classes_of
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.shuffle import Shuffle, flips
from pipeline.data.loader.subset import first_of_each, require_class, without_last
from stylealae.errors import DataError

__all__ = ["Loader"]

CHUNK_BYTES, CHUNK_IMG = 4 << 20, 4096  # small batches are made and handed over several at a time
AHEAD_IMG = 1024  # from an object store, images of this rank are fetched so far ahead

Chunk = list[Batch] | BaseException
"""Some batches in a row, or what stopped the reader."""


def _as_it_is(batch: Batch) -> Batch:
    return batch


class _ClosedError(Exception):
    """The loader was closed while its thread waited for a store that fails."""


class Loader:
    """The batches of the split that is trained on, in the run's order, for one rank."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        classes: int = 0,
    ) -> None:
        """Shuffle a data set by its own settings; images are read after `start`.

        With `classes` every label that is known must be one of so many.
        """
        self._dataset, self._cfg, self._seed = dataset, dataset.cfg, seed
        self._rank, self._world, self._classes = rank, world, classes
        self._closing = threading.Event()
        self._images = dataset.training_split(self._sleep)
        shown = without_last(self._images.shard_samples, self._cfg.validation_img)
        there, kept = int(self._images.shard_samples.sum()), self._cfg.validation_img
        if 0 < there <= kept:
            raise DataError(
                f"{self._cfg.path} has {there:,} images in {self._cfg.split}, and "
                f"data.validation_img keeps {kept:,} of them from training: give "
                f"data.validation_img={there // 10}"
            )
        self._shuffle = Shuffle(shown, seed, self._cfg.shuffle_img)
        self._counted = self._scan_labels()
        on_gpu = torch.device(device).type == "cuda"
        self._to_device = DeviceCopy(torch.device(device)) if on_gpu else _as_it_is
        self._thread: threading.Thread | None = None
        self._ahead: queue.Queue[Chunk] = queue.Queue()
        self._ready: deque[Batch] = deque()
        self.waited_s = 0.0
        """Seconds that `next` has spent waiting for images."""

    def batches(self, seen: int, batch: int, count: int) -> list[Batch]:
        """This rank's slices of `count` global batches from position `seen`, made step by step."""
        positions = self._positions(seen, batch, count)  # [M]
        epochs, ids = self._shuffle.at(positions)  # [M] each
        pixels, values = self._images.take(ids)  # [M, C, R, R] uint8, [M] or None
        labels = self._counted_labels(ids, values)  # [M] or None
        flip = self._flips(ids, epochs)  # [M] bool
        chunk = Batch(torch.from_numpy(pixels), flip, torch.from_numpy(ids), labels)
        return self._to_device(chunk).slices(batch // self._world)  # [N, ...] each

    def _positions(self, seen: int, batch: int, count: int) -> Ints:
        share = batch // self._world
        begins = seen + self._rank * share + batch * np.arange(count, dtype=np.int64)
        return (begins[:, None] + np.arange(share)).reshape(-1)

    def _scan_labels(self) -> Ints:
        """Ids of the images whose label counts; none if all do.  A class that is named is there."""
        if not (self._cfg.labelled_img or self._images.named_class):
            return np.empty(0, np.int64)
        labels = self._dataset.training_labels(self._sleep)
        require_class(labels.labels, labels.named_class, self.samples, self._cfg)
        return first_of_each(labels.values, self.samples, self._cfg)

    def _counted_labels(self, ids: Ints, values: Floats | None) -> Tensor | None:
        if values is None:
            return None
        if self._cfg.labelled_img:
            values[~np.isin(ids, self._counted)] = np.nan
        return torch.from_numpy(self._known_classes(values))

    def _known_classes(self, values: Floats) -> Floats:
        """Labels as they are, if they number classes."""
        if self._classes:
            known = values[~np.isnan(values)]
            odd = known[(known != np.floor(known)) | (known < 0) | (known >= self._classes)]
            if len(odd):
                found = written(float(str(odd[0])))  # the digits of a float32
                raise DataError(
                    f"the label {self._cfg.label!r} is {found} for an image, and model.classes "
                    f"is {self._classes}: classes are numbered from 0 to {self._classes - 1}. Name "
                    f"another with data.label, or one value of it (data.label={self._cfg.label}:"
                    f"{found} is 1 where it is that and else 0), or change model.classes"
                )
        return values

    def _flips(self, ids: Ints, epochs: Ints) -> Tensor:
        if not self._cfg.flip:
            return torch.zeros(len(ids), dtype=torch.bool)
        return torch.from_numpy(flips(self._seed, ids, epochs))

    def start(self, seen: int, batch: int, stop_at: int) -> None:
        """Begin to read ahead global batches from position `seen`, the last reaching `stop_at`."""
        if batch < 1 or batch % self._world:
            raise DataError(
                f"a batch of {batch} images cannot be shared evenly by {self._world} ranks: make "
                f"it a multiple of {self._world}"
            )
        self.close()
        self._closing.clear()
        share = batch // self._world
        most = max(1, min(CHUNK_IMG, CHUNK_BYTES // self._images.image_bytes) // share)
        self._ahead = queue.Queue(maxsize=max(1, self._cfg.prefetch // most))
        self._thread = threading.Thread(
            target=self._read_ahead,
            args=(seen, batch, stop_at, most, self._ahead),
            name="loader",
            daemon=True,
        )
        self._thread.start()

    def next(self) -> Batch:
        """This rank's part of the next global batch; raises what stopped the reader."""
        if self._thread is None:
            raise RuntimeError("the loader was not started: call start(seen, batch, stop_at) first")
        if not self._ready:
            since = time.perf_counter()
            chunk = self._next_chunk(self._thread)
            self.waited_s += time.perf_counter() - since
            if isinstance(chunk, BaseException):
                self._ahead.put_nowait(chunk)  # the next call raises the same
                raise chunk
            self._ready.extend(chunk)
        return self._ready.popleft()

    def sample_ids(self, seen: int, batch: int, count: int) -> Ints:
        """[count * N] this rank's images of `count` global batches from position `seen`."""
        return self._shuffle.at(self._positions(seen, batch, count))[1]

    @cached_property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """The `data.labelled_img` whose label counts: [K, C, R, R] uint8, [K] int64 classes."""
        x, values = self._dataset.training_split(held=False).take(self._counted)
        labels = None if values is None else torch.from_numpy(self._known_classes(values))
        return torch.from_numpy(x), classes_of(len(x), labels)

    @property
    def samples(self) -> int:
        """Images that are shown: the length of an epoch."""
        return self._shuffle.samples

    @property
    def broken(self) -> int:
        """Images of the data set that this rank found unusable so far."""
        return len(self._images.broken)

    @property
    def replaced(self) -> int:
        """Images that this rank read since the start in place of unusable ones."""
        return self._images.replaced

    def close(self) -> None:
        """Stop reading ahead; the loader can be started again."""
        if self._thread is not None:
            self._closing.set()
            self._thread.join()
            self._thread = None
        self._images.close()
        self._ready.clear()

    def __enter__(self) -> Self:
        """The loader itself; it is closed at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def _sleep(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise _ClosedError

    def _next_chunk(self, thread: threading.Thread) -> Chunk:
        while True:
            try:
                return self._ahead.get(timeout=1.0)
            except queue.Empty:
                if not thread.is_alive() and self._ahead.empty():
                    raise RuntimeError(
                        "the loader's thread is gone: start the loader again"
                    ) from None

    def _read_ahead(
        self, seen: int, batch: int, stop_at: int, most: int, ahead: "queue.Queue[Chunk]"
    ) -> None:
        """Offer chunks of 1, 2, 4 ... `most` batches: the first is soon there."""
        last: Chunk
        fetched, count, far = seen, 1, 0
        try:
            while seen < stop_at and not self._closing.is_set():
                if self._dataset.remote:
                    until = min(stop_at, seen + max(count * batch, far))
                    fetched = self._fetch(fetched, until, batch)
                    far = max(most * batch, AHEAD_IMG * self._world)  # once the first is there
                self._offer(ahead, self.batches(seen, batch, count))
                seen += count * batch
                left = -(-(stop_at - seen) // batch)
                count = min(2 * count, most, left)
            last = RuntimeError(f"the loader has ended: all images up to {stop_at} were given")
        except BaseException as error:  # whatever it is, next() raises it
            last = error
        self._offer(ahead, last)

    def _offer(self, ahead: "queue.Queue[Chunk]", item: Chunk) -> None:
        """Put an item into the queue once there is room, unless the loader is closed meanwhile."""
        while not self._closing.is_set():
            try:
                return ahead.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _fetch(self, fetched: int, until: int, batch: int) -> int:
        """Begin to fetch the images at positions `fetched` to `until`; gives back how far it is."""
        while fetched < until:  # batch by batch, for what is asked first is fetched first
            self._images.prefetch(self.sample_ids(fetched, batch, 1))
            fetched += batch
        return fetched
