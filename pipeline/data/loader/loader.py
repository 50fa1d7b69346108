"""Shards -> batches, read ahead by a thread; resumable, the same images at any world size.

The state is one number, `seen`. The global batch at `seen` is positions seen ... seen + batch - 1
of the order, and a rank takes its contiguous slice.

N batch (of this rank), C channels, R resolution
"""

import queue
import threading
import time
from collections import deque
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from pipeline.config.sections import DataConfig
from pipeline.data.format.manifest import Manifest
from pipeline.data.loader.batch import Batch, classes_of
from pipeline.data.loader.dataset import Images
from pipeline.data.loader.device_copy import Copier
from pipeline.data.loader.shuffle import Ints, Order, flips
from pipeline.data.loader.subset import first_of_each, without_last
from pipeline.storage.store import Where, open_store
from stylealae.errors import DataError

__all__ = ["GIB", "Stream"]

GIB = 1 << 30
SLAB_BYTES, SLAB_IMG = 4 << 20, 4096  # small batches are made and handed over several at a time
AHEAD_IMG = 1024  # from an object store, images of this rank are fetched so far ahead


Slab = list[Batch] | BaseException
"""Some batches in a row, or what stopped the reader."""


class Stream:
    """The images of one split at one resolution, in the run's order."""

    def __init__(
        self,
        dataset: Where,
        cfg: DataConfig,
        *,
        seed: int,
        resolution: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Read the manifest of a dataset, by path or URL; images are read after `start`."""
        self._store = open_store(
            dataset,
            cache=Path(cfg.cache).expanduser(),
            cache_bytes=int(cfg.cache_gib * GIB),
            patience_s=cfg.patience_s,
        )
        self.manifest = Manifest.read(self._store)
        self._cfg, self._seed, self._resolution = cfg, seed, resolution
        self._rank, self._world = rank, world
        self._images = Images(
            self._store,
            self.manifest,
            cfg.split,
            resolution,
            ram_bytes=cfg.ram_gib * GIB,
            max_broken=cfg.max_broken,
            label=cfg.label,
            threads=cfg.decoders,
        )
        shown = without_last(self._images.shard_samples, cfg.validation_img)
        self._order = Order(shown, seed, cfg.shuffle_img)
        self._counted = first_of_each(self._images, self._order.samples, cfg)
        self._copier = Copier(torch.device(device)) if torch.device(device).type == "cuda" else None
        # For the caller's thread, by split and label; self._images is the reader's.
        self._aside: dict[tuple[str, str], Images] = {}
        self._thread: threading.Thread | None = None
        self._ahead: queue.Queue[Slab] = queue.Queue()
        self._ready: deque[Batch] = deque()
        self.waited_s = 0.0
        """Seconds that `next` has spent waiting for images."""

    def start(self, seen: int, batch: int, stop_at: int) -> None:
        """Begin to read ahead global batches from position `seen`, the last reaching `stop_at`."""
        if batch < 1 or batch % self._world:
            raise DataError(
                f"a batch of {batch} images cannot be shared evenly by {self._world} ranks: make "
                f"it a multiple of {self._world}"
            )
        self.close()
        self._store.leaving.clear()
        share = batch // self._world
        slab = max(1, min(SLAB_IMG, SLAB_BYTES // self._images.image_bytes) // share)
        self._ahead = queue.Queue(maxsize=max(1, self._cfg.prefetch // slab))
        self._thread = threading.Thread(
            target=self._read_ahead,
            args=(seen, batch, stop_at, slab, self._ahead),
            name="stream",
            daemon=True,
        )
        self._thread.start()

    def next(self) -> Batch:
        """This rank's part of the next global batch; raises what stopped the reader."""
        if self._thread is None:
            raise RuntimeError("the stream was not started: call start(seen, batch, stop_at) first")
        if not self._ready:
            since = time.perf_counter()
            slab = self._next_slab(self._thread)
            self.waited_s += time.perf_counter() - since
            if isinstance(slab, BaseException):
                self._ahead.put_nowait(slab)  # the next call is told the same
                raise slab
            self._ready.extend(slab)
        return self._ready.popleft()

    def keys(self, sample_ids: Tensor) -> list[str]:
        """[n] -> the names that these samples have in their source."""
        return self._reader(self._cfg.split).keys(sample_ids.numpy())

    def fixed(self, n: int, split: str = "test") -> Tensor:
        """[n, C, R, R] uint8: the first n images of a split (train if it has none), at most all."""
        if not self.manifest.samples(split):
            split = "train"
        images = self._reader(split)
        return torch.from_numpy(images.take(np.arange(min(n, images.samples)))[0])

    @cached_property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """The `data.labelled_img` whose label counts: [K, C, R, R] uint8, [K] int64 classes."""
        x, values = self._reader(self._cfg.split, self._cfg.label).take(self._counted)
        labels = None if values is None else torch.from_numpy(values)
        return torch.from_numpy(x), classes_of(len(x), labels)

    @property
    def samples(self) -> int:
        """Images in the split: the length of an epoch."""
        return self._order.samples

    @property
    def broken(self) -> int:
        """Images of the data set that this rank found unusable so far."""
        return len(self._images.broken)

    @property
    def replaced(self) -> int:
        """Images that this rank read since the start in place of unusable ones."""
        return self._images.replaced

    def close(self) -> None:
        """Stop reading ahead; the stream can be started again."""
        if self._thread is not None:
            self._store.leaving.set()
            self._thread.join()
            self._thread = None
        self._images.close()
        self._ready.clear()

    def __enter__(self) -> "Stream":
        """The stream itself; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _reader(self, split: str, label: str = "") -> Images:
        if (split, label) not in self._aside:
            self._aside[split, label] = Images(
                self._store, self.manifest, split, self._resolution, label=label
            )
        return self._aside[split, label]

    def _next_slab(self, thread: threading.Thread) -> "Slab":
        while True:
            try:
                return self._ahead.get(timeout=1.0)
            except queue.Empty:
                if not thread.is_alive() and self._ahead.empty():
                    raise RuntimeError(
                        "the stream's thread is gone: start the stream again"
                    ) from None

    def _read_ahead(
        self, seen: int, batch: int, stop_at: int, slab: int, ahead: "queue.Queue[Slab]"
    ) -> None:
        last: Slab
        fetched, count, far = seen, 1, 0
        try:
            while seen < stop_at and not self._store.leaving.is_set():
                if self._store.remote:
                    until = min(stop_at, seen + max(count * batch, far))
                    fetched = self._fetch(fetched, until, batch)
                    far = max(slab * batch, AHEAD_IMG * self._world)  # once the first is there
                self._offer(ahead, self._batches(seen, batch, count))
                seen += count * batch
                left = -(-(stop_at - seen) // batch)
                count = min(2 * count, slab, left)  # the first is soon there
            last = RuntimeError(f"the stream has ended: all images up to {stop_at} were given")
        except BaseException as error:  # whatever it is, the caller of next() must hear of it
            last = error
        self._offer(ahead, last)

    def _offer(self, ahead: "queue.Queue[Slab]", item: "Slab") -> None:
        """Put an item into the queue once there is room, unless the stream is closed meanwhile."""
        while not self._store.leaving.is_set():
            try:
                return ahead.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _ids(self, seen: int, batch: int, count: int) -> tuple[Ints, Ints]:
        """[count * N] epochs and sample ids: this rank's slices of `count` batches from `seen`."""
        share = batch // self._world
        begins = seen + self._rank * share + batch * np.arange(count, dtype=np.int64)
        return self._order.at((begins[:, None] + np.arange(share)).reshape(-1))

    def _fetch(self, fetched: int, until: int, batch: int) -> int:
        """Begin to fetch the images at positions `fetched` to `until`; gives back how far it is."""
        while fetched < until:  # batch by batch, for what is asked first is fetched first
            self._images.prefetch(self._ids(fetched, batch, 1)[1])
            fetched += batch
        return fetched

    def _batches(self, seen: int, batch: int, count: int) -> list[Batch]:
        """This rank's slices of `count` global batches from position `seen`."""
        epochs, ids = self._ids(seen, batch, count)
        mirrored = (
            flips(self._seed, ids, epochs) if self._cfg.flip else np.zeros(len(ids), np.bool_)
        )
        pixels, values = self._images.take(ids)
        x, flip, arrived = torch.from_numpy(pixels), torch.from_numpy(mirrored), None
        if self._copier is not None:
            (x, flip), arrived = self._copier(x, flip)
        sample_ids, labels = torch.from_numpy(ids), None
        if values is not None:
            if self._cfg.labelled_img:
                values[~np.isin(ids, self._counted)] = np.nan
            labels = torch.from_numpy(values)
        share = batch // self._world
        return [
            Batch(x[p], flip[p], sample_ids[p], None if labels is None else labels[p], arrived)
            for p in (slice(begin, begin + share) for begin in range(0, len(ids), share))
        ]
