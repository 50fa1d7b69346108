"""Digits of another script: files that `prepare` reads as it reads MNIST's, the same every time."""

from pathlib import Path

import numpy as np
import pytest

from bench.digits import digit, write
from pipeline.data.sources.registry import open_source

pytest.importorskip("matplotlib", reason="the fonts are its own")


def test_the_files_are_read_as_mnists(tmp_path: Path) -> None:
    write(tmp_path, {"train": 90, "test": 20})
    source = open_source(str(tmp_path))
    assert (source.name, len(source), source.tests) == ("idx", 110, 20)
    for i in (0, 89, 90, 109):
        image, kind = digit(i)
        sample = source.read(i)
        assert np.array_equal(sample.image[2:30, 2:30, 0], image)
        assert sample.labels == {"class": kind}


def test_all_ten_digits_are_drawn_within_the_frame() -> None:
    drawn = [digit(i) for i in range(100)]
    assert {kind for _, kind in drawn} == set(range(10))
    images = np.stack([image for image, _ in drawn]).astype(float)
    assert images.max((1, 2)).min() > 100
    assert images[:, 3:25, 3:25].sum() > 0.95 * images.sum()
