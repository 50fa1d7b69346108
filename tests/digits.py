"""Made-up digits, for what wants classes: a class is a place of a bright square."""

import gzip
from pathlib import Path

import numpy as np


def write_digits(folder: Path) -> Path:
    """A prepared set at 32x32: 200 images to train on and 40 for tests, drawn from integers."""
    from pipeline.data.prepare.shards import prepare
    from pipeline.data.sources.registry import open_source

    raw, out = folder / "idx", folder / "set"
    raw.mkdir(parents=True)
    source = np.random.default_rng(0)
    for prefix, n in (("train", 200), ("t10k", 40)):
        labels = source.integers(0, 10, n)
        images = source.integers(0, 60, (n, 28, 28))
        for image, label in zip(images, labels, strict=True):
            row, column = 4 + 14 * (label // 5), 1 + 5 * (label % 5)
            image[row : row + 8, column : column + 5] += 180
        _write_idx(raw / f"{prefix}-images-idx3-ubyte.gz", images)
        _write_idx(raw / f"{prefix}-labels-idx1-ubyte.gz", labels)
    prepare(open_source(str(raw), "idx"), out, (32,), workers=1)
    return out


def _write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0))
