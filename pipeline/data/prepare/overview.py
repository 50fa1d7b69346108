"""What a dataset holds, for people: counts, splits, labels, and pictures of every resolution."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.data.format.manifest import Manifest
from pipeline.data.format.types import Label
from pipeline.data.loader.shard_reader import ShardReader
from pipeline.data.loader.split_reader import SplitReader
from pipeline.storage import Where, data_storage
from pipeline.storage.pieces import open_pieces
from stylealae.image_grid import Row

__all__ = ["overview", "rows_to_draw"]

CLASSES = 12  # of a label, named in the table


@dataclass
class Column:
    """What is known about one label."""

    classes: Counter[str] = field(default_factory=Counter)
    low: float = float("inf")
    high: float = float("-inf")
    numbers: int = 0
    missing: int = 0

    def add(self, values: list[Label]) -> None:
        """Count some values."""
        for value in values:
            if value is None:
                self.missing += 1
            elif isinstance(value, str):
                self.classes[value] += 1
            else:
                self.numbers += 1
                self.low, self.high = min(self.low, value), max(self.high, value)

    def summary(self) -> str:
        """The range, or the classes with their counts."""
        parts = [f"{self.low:g} to {self.high:g}"] if self.numbers else []
        parts += [f"{name} {n:,}" for name, n in self.classes.most_common(CLASSES)]
        if len(self.classes) > CLASSES:
            parts.append(f"and {len(self.classes) - CLASSES} more")
        if self.missing:
            parts.append(f"unknown {self.missing:,}")
        return ", ".join(parts)


def overview(dataset: Where) -> list[tuple[str, str]]:
    """Names and what they are; labels are read from the smallest resolution."""
    manifest, opened = _opened(dataset)
    rows: list[tuple[str, str]] = []

    def add(name: str, value: str) -> None:
        rows.append((name, value))

    add("source", manifest.source)
    add("licence", manifest.licence)
    add("channels", str(manifest.channels))
    for name, split in manifest.splits.items():
        add(f"split {name}", f"{split.samples:,} images in {split.shards:,} shards")
    for reader in opened:
        side, length = reader.shards.resolution, int(reader.shards.bytes.sum())
        add(f"{side}x{side}", f"{reader.encoding}, {length / (1 << 20):,.1f} MiB")
    for label, column in _columns(opened[0], manifest.labels).items():
        add(f"label {label}", column.summary())
    add("enlarged", f"{manifest.enlarged:,}")
    add("broken", f"{manifest.broken:,} inputs were refused")
    for entry in manifest.refused:
        add("", f"{entry.name}: {entry.reason}")
    return rows


def rows_to_draw(dataset: Where, count: int) -> Iterator[tuple[int, list[Row]]]:
    """For each resolution the first images of every split, as rows of an image grid."""
    manifest, opened = _opened(dataset)
    for reader in opened:
        rows, resolution = [], reader.shards.resolution
        for split, part in manifest.splits.items():
            if not part.samples:  # all were refused
                continue
            images = SplitReader(reader, split)
            x = torch.from_numpy(images.take(np.arange(min(count, part.samples)))[0])
            rows.append((f"{split}, {resolution}x{resolution}", x.to(torch.float32) / 127.5 - 1.0))
        yield resolution, rows


def _opened(dataset: Where) -> tuple[Manifest, list[ShardReader]]:
    """The manifest, and the tars of every resolution."""
    storage = data_storage(dataset)
    manifest = Manifest.read(storage)
    pieces = open_pieces(storage)
    return manifest, [ShardReader(pieces, manifest, r) for r in manifest.resolutions]


def _columns(reader: ShardReader, labels: tuple[str, ...]) -> dict[str, Column]:
    """Every label of the dataset, counted."""
    columns = {label: Column() for label in labels}
    for shard, span in reader.spans() if labels else ():
        values = reader.span(shard, span).description["labels"]
        for label, column in columns.items():
            column.add(values[label])
    return columns
