"""A prepared data set at one resolution, opened once for all who read it.

    dataset = Dataset.open(cfg.data, 64, cfg.model.channels)
    loader = Loader(dataset, seed=cfg.seed)           batches for training
    dataset.take("test", np.arange(10))               images by their numbers, for metrics

N images asked for, C channels, R resolution
"""

import time
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from pipeline.config.sections import DataConfig
from pipeline.data.format.manifest import Manifest
from pipeline.data.format.types import Floats, Ints
from pipeline.data.loader.batch import classes_of
from pipeline.data.loader.shard_reader import ShardReader
from pipeline.data.loader.split_reader import SplitReader
from pipeline.storage import Storage, data_storage
from pipeline.storage.cache import Cache
from pipeline.storage.pieces import open_pieces
from pipeline.storage.storage import Sleep
from stylealae.errors import DataError

__all__ = ["Dataset"]

GIB = 1 << 30


class Dataset:
    """Storage, manifest, resolution and settings of a data set, and its images by number."""

    def __init__(self, storage: Storage, cfg: DataConfig, resolution: int) -> None:
        """Read the manifest and the list of shards; no image is read yet.

        Raises:
            DataError: there is no data set, or it has no images of this resolution.
        """
        cache = None
        if storage.remote:
            cache = Cache(Path(cfg.cache).expanduser(), int(cfg.cache_gib * GIB))
        self.cfg, self.resolution = cfg, resolution
        self.manifest = Manifest.read(storage)
        self._shards = ShardReader(open_pieces(storage, cache), self.manifest, resolution)
        self._splits: dict[tuple[str, str, int], SplitReader] = {}

    @classmethod
    def open(cls, cfg: DataConfig, resolution: int, channels: int = 0) -> Self:
        """The data set at `data.path`, for networks of so many channels (0: whatever it has)."""
        if Path(cfg.path).is_file():
            raise DataError(
                f"{cfg.path} is a file, and images are looked up in a prepared data set: make one "
                f"with `stylealae prepare {cfg.path} --out FOLDER --resolutions 4..{resolution}`"
            )
        dataset = cls(data_storage(cfg.path, cfg.patience_s), cfg, resolution)
        if channels:
            dataset.manifest.require_channels(channels, cfg.path)
        return dataset

    def count(self, split: str) -> int:
        """Images of a split; 0 if there is none of that name."""
        return self.manifest.samples(split)

    def take(self, split: str, ids: Ints) -> Tensor:
        """Images by their numbers in a split, as they are stored.  [N] -> uint8 [N, C, R, R]

        For as many damaged ones as training takes others stand in.
        """
        return torch.from_numpy(self.split(split).take(ids)[0])

    def first(self, n: int, split: str = "test") -> Tensor:
        """The first images of a split (train if it has none).  -> uint8 [n or all, C, R, R]"""
        return self.take(*self._first(n, split))

    def broken(self, split: str) -> int:
        """Images of a split that were asked for so far and are damaged."""
        return len(self.split(split).broken)

    def first_classes(self, n: int, label: str, split: str = "test") -> Tensor:
        """The classes of the same images, -1 where unknown.  -> int64 [n or all]"""
        split, ids = self._first(n, split)
        return classes_of(len(ids), torch.from_numpy(self.labels(split, label, ids)))

    def _first(self, n: int, split: str) -> tuple[str, Ints]:
        split = split if self.count(split) else "train"
        return split, np.arange(min(n, self.count(split)))

    def labels(self, split: str, name: str, ids: Ints) -> Floats:
        """A label of some images, NaN where it is unknown.  [N] -> [N]"""
        smallest = min(self.manifest.resolutions)
        return self.split(split, name, smallest).values(ids)

    def split(self, name: str, label: str = "", resolution: int = 0) -> SplitReader:
        """The images of a split, for one thread; beyond `data.max_broken` damaged ones an error."""
        key = name, label, resolution or self.resolution
        if key not in self._splits:
            self._splits[key] = SplitReader(
                self._shards_at(key[2]), name, label=label, max_broken=self.cfg.max_broken
            )
        return self._splits[key]

    def training_split(self, sleep: Sleep = time.sleep, *, held: bool = True) -> SplitReader:
        """The split that is trained on, as the settings say: in memory, stand-ins for broken ones.

        `sleep` waits between attempts at a store that fails, and raises to give up. Not `held`, for
        whoever looks at an image once, they stay where they lie.
        """
        cfg = self.cfg
        return SplitReader(
            self._shards.with_sleep(sleep),
            cfg.split,
            label=cfg.label,
            ram_bytes=cfg.ram_gib * GIB if held else 0,
            max_broken=cfg.max_broken,
            threads=cfg.decoders,
        )

    def training_labels(self, sleep: Sleep = time.sleep) -> SplitReader:
        """As `training_split`, to read labels alone, which lie beside the smallest images, too."""
        shards = self._shards_at(min(self.manifest.resolutions)).with_sleep(sleep)
        cfg = self.cfg
        return SplitReader(shards, cfg.split, label=cfg.label, max_broken=cfg.max_broken)

    def _shards_at(self, resolution: int) -> ShardReader:
        if resolution == self.resolution:
            return self._shards
        return ShardReader(self._shards.pieces, self.manifest, resolution)

    @property
    def remote(self) -> bool:
        """Whether reading ahead is worth the trouble."""
        return self._shards.pieces.storage.remote
