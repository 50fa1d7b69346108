"""What all tests share: threads, a world of one, and made-up digits for what wants classes."""

import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pipeline.world import World

# Beside other work, two threads wait for each other at every small kernel.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without naming a source does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module")
def world() -> Iterator["World"]:
    """A world of one on one thread."""
    import torch

    from pipeline.config.sections import EngineConfig
    from pipeline.world import joined

    threads = torch.get_num_threads()
    yield joined(EngineConfig(threads=1), gpu=False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images to train on and 40 for tests: a class is a place of a bright square."""
    raw, out = tmp_path_factory.mktemp("idx"), tmp_path_factory.mktemp("digits") / "set"
    source = np.random.default_rng(0)
    for prefix, n in (("train", 200), ("t10k", 40)):
        labels = source.integers(0, 10, n)
        images = source.integers(0, 60, (n, 28, 28))
        for image, label in zip(images, labels, strict=True):
            row, column = 4 + 14 * (label // 5), 1 + 5 * (label % 5)
            image[row : row + 8, column : column + 5] += 180
        write_idx(raw / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte.gz", labels)
    from pipeline.data.prepare.shards import prepare
    from pipeline.data.sources.registry import open_source

    prepare(open_source(str(raw), "idx"), out, (32,), workers=1)
    return out
