"""Rendered faces: the same number is the same picture, at every resolution and for every label."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from pipeline.data.rendered.faces import (
    LABELS,
    RANGES,
    FaceParameters,
    draw,
    render,
    sample_parameters,
)
from stylealae.errors import ConfigError

TELLING = FaceParameters(
    age=0.6, glasses=0.6, beard=0.4, hair_tone=0.6, hair_length=0.5, backdrop_saturation=0.5
)  # a person on whom every parameter can be seen
MOVED = 20  # difference of the pixel that changes most at 64 x 64, in steps of 1 / 255


def pooled(x: np.ndarray) -> np.ndarray:
    r = x.shape[0] // 2
    return x.astype(np.float32).reshape(r, 2, r, 2, 3).mean((1, 3))


@pytest.mark.parametrize("resolution", [4, 8, 64, 256])
def test_a_picture_is_square_rgb_with_contrast(resolution: int) -> None:
    x, _ = render(3, resolution)
    assert x.shape == (resolution, resolution, 3)
    assert x.dtype == np.uint8
    assert x.max() - int(x.min()) > 60


def test_the_same_number_is_the_same_picture_in_another_process() -> None:
    x, _ = render(7, 32)
    assert np.array_equal(x, render(7, 32)[0])
    code = (
        "import sys; from pipeline.data.rendered.faces import render;"
        "sys.stdout.buffer.write(render(7, 32)[0].tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert there == x.tobytes()


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    render(1, 32)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(("resolution", "within"), [(32, 0.6), (64, 0.6), (256, 2.0)])
def test_a_larger_picture_is_the_same_picture(resolution: int, within: float) -> None:
    for index in range(6):
        large, small = render(index, 2 * resolution)[0], render(index, resolution)[0]
        assert np.abs(pooled(large) - small).mean() < within


def test_different_numbers_are_different_people() -> None:
    faces = np.stack([render(i, 16)[0] for i in range(40)]).astype(np.float32).reshape(40, -1)
    apart = np.abs(faces[:, None] - faces[None]).mean(-1) + 99 * np.eye(40)
    assert apart.min() > 8


@pytest.mark.parametrize("name", LABELS)
def test_every_label_can_be_seen(name: str) -> None:
    low, high = RANGES[name]
    swept = [dataclasses.replace(TELLING, **{name: v}) for v in np.linspace(low, high, 4).tolist()]
    faces = np.stack([draw(p, 64) for p in swept]).astype(np.float32)
    assert np.abs(faces[1:] - faces[0]).max() > MOVED


def test_labels_are_complete_and_in_range_and_varied() -> None:
    labels = [dataclasses.asdict(sample_parameters(i)) for i in range(2000)]
    assert tuple(labels[0]) == LABELS == tuple(render(0, 4)[1])
    for name, (low, high) in RANGES.items():
        column = np.array([row[name] for row in labels])
        assert low <= column.min()
        assert column.max() <= high
        assert column.std() > 0.1 * (high - low), name
        middle = (column > low) & (column < high)
        assert middle.mean() > 0.05 or name == "glasses", name
    assert 0.15 < np.mean([row["glasses"] for row in labels]) < 0.35


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ConfigError, match="smile is 2"):
        FaceParameters(smile=2)
    with pytest.raises(ConfigError, match="power of two"):
        render(0, 48)
