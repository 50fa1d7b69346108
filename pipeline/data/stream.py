"""Shards -> batches, read ahead by a thread; resumable, the same images at any world size.

The state is one number, `seen`. The global batch at `seen` is positions seen ... seen + batch - 1
of the order, and a rank takes its contiguous slice. Pixels travel as uint8; flip, scaling and the
fade-in blend happen on the device.

N batch (of this rank), C channels, R resolution
"""

import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor

from pipeline.config import DataConfig
from pipeline.data.manifest import Manifest
from pipeline.data.order import Order, flips
from pipeline.data.reader import Images, Ints
from stylealae.errors import DataError

__all__ = ["Batch", "Stream", "on_device"]

GIB = 1 << 30


@dataclass(frozen=True, eq=False)
class Batch:
    """This rank's part of one global batch."""

    x: Tensor
    """[N, C, R, R] uint8, not flipped yet."""
    flip: Tensor
    """[N] bool: which images are to be mirrored."""
    sample_ids: Tensor
    """[N] int64: place of each image in its split, in manifest order."""


def on_device(batch: Batch | Tensor, alpha: float, device: torch.device | str) -> Tensor:
    """[N, C, R, R] float32 in [-1, 1] on `device`: flipped, scaled and cross-faded by `alpha`.

    Images alone, [N, C, R, R] uint8, are not flipped.
    """
    if isinstance(batch, Tensor):
        x = batch.to(device, non_blocking=True)
    else:
        x = batch.x.to(device, non_blocking=True)
        flip = batch.flip.to(device, non_blocking=True)
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
    x = x.to(torch.float32) / 127.5 - 1.0
    if alpha < 1.0 and x.shape[-1] > 4:  # 4x4 has nothing to fade from
        coarse = fn.interpolate(fn.avg_pool2d(x, 2), scale_factor=2, mode="nearest")
        x = torch.lerp(coarse, x, alpha)
    return x


class Stream:
    """The images of one split at one resolution, in the run's order."""

    def __init__(
        self,
        dataset: Path,
        cfg: DataConfig,
        *,
        seed: int,
        resolution: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Read the manifest; images are read after `start`."""
        self.manifest = Manifest.read(Path(dataset))
        self._dataset, self._cfg, self._seed, self._resolution = (
            Path(dataset),
            cfg,
            seed,
            resolution,
        )
        self._rank, self._world = rank, world
        self._images = Images(
            self._dataset,
            self.manifest,
            cfg.split,
            resolution,
            ram_bytes=cfg.ram_gib * GIB,
            max_broken=cfg.max_broken,
        )
        shards = self.manifest.shards_of(cfg.split)
        self._order = Order([shard.samples for shard in shards], seed, cfg.shuffle_img)
        self._aside: dict[str, Images] = {}  # for the caller's thread; self._images is the reader's
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ahead: queue.Queue[Batch | BaseException] = queue.Queue()
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
        self._stop = threading.Event()
        self._ahead = queue.Queue(maxsize=max(1, self._cfg.prefetch))
        self._thread = threading.Thread(
            target=self._read_ahead,
            args=(seen, batch, stop_at, self._ahead, self._stop),
            name="stream",
            daemon=True,
        )
        self._thread.start()

    def next(self) -> Batch:
        """This rank's part of the next global batch; raises what stopped the reader."""
        if self._thread is None:
            raise RuntimeError("the stream was not started: call start(seen, batch, stop_at) first")
        since = time.perf_counter()
        while True:
            try:
                item = self._ahead.get(timeout=1.0)
                break
            except queue.Empty:
                if not self._thread.is_alive() and self._ahead.empty():
                    raise RuntimeError(
                        "the stream's thread is gone: start the stream again"
                    ) from None
        self.waited_s += time.perf_counter() - since
        if isinstance(item, BaseException):
            self._ahead.put_nowait(item)  # the next call is told the same
            raise item
        return item

    def keys(self, sample_ids: Tensor) -> list[str]:
        """[n] -> the names that these samples have in their source."""
        return self._reader(self._cfg.split).keys(sample_ids.numpy())

    def fixed(self, n: int, split: str = "test") -> Tensor:
        """[n, C, R, R] uint8: the first n images of a split (train if it has none), at most all."""
        if not self.manifest.samples(split):
            split = "train"
        images = self._reader(split)
        return torch.from_numpy(images.take(np.arange(min(n, images.samples))))

    @property
    def samples(self) -> int:
        """Images in the split: the length of an epoch."""
        return self._order.samples

    @property
    def broken(self) -> int:
        """Images so far that could not be used and were replaced, on this rank."""
        return len(self._images.broken)

    def close(self) -> None:
        """Stop reading ahead; the stream can be started again."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

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

    def _reader(self, split: str) -> Images:
        if split not in self._aside:
            self._aside[split] = Images(self._dataset, self.manifest, split, self._resolution)
        return self._aside[split]

    def _read_ahead(
        self,
        seen: int,
        batch: int,
        stop_at: int,
        ahead: "queue.Queue[Batch | BaseException]",
        stop: threading.Event,
    ) -> None:
        item: Batch | BaseException
        try:
            while seen < stop_at and not stop.is_set():
                _offer(ahead, self._batch(seen, batch), stop)
                seen += batch
            item = RuntimeError(f"the stream has ended: all images up to {stop_at} were given")
        except BaseException as error:  # whatever it is, the caller of next() must hear of it
            item = error
        _offer(ahead, item, stop)

    def _batch(self, seen: int, batch: int) -> Batch:
        """This rank's slice of positions seen ... seen + batch - 1."""
        share = batch // self._world
        positions: Ints = seen + self._rank * share + np.arange(share, dtype=np.int64)
        epochs, ids = self._order.at(positions)
        flip = flips(self._seed, ids, epochs) if self._cfg.flip else np.zeros(share, np.bool_)
        x = self._images.take(ids)
        return Batch(torch.from_numpy(x), torch.from_numpy(flip), torch.from_numpy(ids))


def _offer(
    ahead: "queue.Queue[Batch | BaseException]", item: Batch | BaseException, stop: threading.Event
) -> None:
    """Put an item into the queue once there is room, unless the stream is closed meanwhile."""
    while not stop.is_set():
        try:
            return ahead.put(item, timeout=0.1)
        except queue.Full:
            continue
