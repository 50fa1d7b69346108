"""Which images are shown and whose label counts: at any world size, found without the pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.sections import DataConfig
from pipeline.data.format.labels import is_class, written
from pipeline.data.format.types import Floats, Ints, Label
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from pipeline.data.loader.subset import first_of_each, require_class, without_last
from stylealae.errors import DataError
from tests.pipeline.data.handmade import loader_of

CFG = DataConfig(label="class", labelled_img=40, validation_img=20, flip=False)


def loader(digits: Path, cfg: DataConfig = CFG, rank: int = 0, world: int = 1) -> Loader:
    return loader_of(digits, cfg, seed=0, resolution=32, rank=rank, world=world)


def opened(digits: Path) -> Dataset:
    return Dataset.open(replace(CFG, path=str(digits)), 32)


def all_labels(digits: Path) -> Floats:
    return opened(digits).labels("train", "class", np.arange(200))


def counted(digits: Path) -> Ints:
    """The images whose label counts."""
    return first_of_each(opened(digits).split("train", "class").values, 180, CFG)


def test_the_first_of_every_class_count(digits: Path) -> None:
    labels = all_labels(digits)[:180]
    wanted = np.sort(np.concatenate([np.flatnonzero(labels == c)[:4] for c in range(10)]))
    assert counted(digits).tolist() == wanted.tolist()
    with loader(digits) as s:
        x, y = s.labelled
    assert y.tolist() == labels[wanted].tolist()
    assert torch.equal(x, opened(digits).take("train", wanted))


def test_other_labels_are_unknown_and_validation_images_never_shown(digits: Path) -> None:
    labels, known, seen = all_labels(digits), set(counted(digits).tolist()), set()
    with loader(digits) as s:
        assert s.samples == 180
        s.start(0, 12, 360)
        for _ in range(30):
            batch = s.next()
            for i, label in zip(batch.sample_ids.tolist(), batch.classes.tolist(), strict=True):
                assert label == (labels[i] if i in known else -1)
                seen.add(i)
    assert seen == set(range(180))


def test_every_world_size_sees_the_same_batches_and_labels(digits: Path) -> None:
    def shown(world: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = []
        for rank in range(world):
            with loader(digits, CFG, rank, world) as s:
                s.start(24, 12, 60)
                parts.append([s.next() for _ in range(3)])
        batches = list(zip(*parts, strict=True))
        return (
            torch.cat([b.sample_ids for ranks in batches for b in ranks]),
            torch.cat([b.classes for ranks in batches for b in ranks]),
        )

    one, two = shown(1), shown(2)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_no_label_named_is_no_class_known(digits: Path) -> None:
    with loader(digits, DataConfig(flip=False)) as s:
        s.start(0, 12, 24)
        assert s.next().classes.tolist() == [-1] * 12
        x, y = s.labelled
        assert (len(x), len(y)) == (0, 0)


def test_all_labels_count_if_no_number_is_given(digits: Path) -> None:
    with loader(digits, replace(CFG, labelled_img=0)) as s:
        s.start(0, 12, 24)
        assert int(s.next().classes.min()) >= 0


def test_a_class_with_too_few_images_is_named(digits: Path) -> None:
    with pytest.raises(DataError, match=r"wants 100 images of each of 10.*data\.classes"):
        loader(digits, replace(CFG, labelled_img=1000))


def test_labels_are_read_no_further_than_needed() -> None:
    """Ten classes in turn, a hundred thousand images: the first ten would do."""
    read = []

    def values_of(ids: Ints) -> Floats:
        read.append(len(ids))
        return (ids % 10).astype(np.float32)

    found = first_of_each(values_of, 100_000, replace(CFG, labelled_img=10))
    assert found.tolist() == list(range(10))
    assert sum(read) < 5_000


@pytest.mark.parametrize(
    ("n", "wanted"), [(0, [5, 5, 3]), (2, [5, 5, 1]), (3, [5, 5]), (7, [5, 1]), (13, [])]
)
def test_what_is_cut_is_cut_from_the_end(n: int, wanted: list[int]) -> None:
    assert without_last(np.array([5, 5, 3]), n).tolist() == wanted


def test_a_class_that_is_there_is_looked_for_no_further_than_needed() -> None:
    read = []

    def labels_of(ids: Ints) -> list[Label]:
        read.append(len(ids))
        return ["odd" if i % 2 else "even" for i in ids]

    require_class(labels_of, "odd", 100_000, replace(CFG, label="parity:odd"))
    assert sum(read) < 5_000


@pytest.mark.parametrize(
    ("value", "name", "there"),
    [
        (1e7, "10000000", True),
        (16_777_217.0, "16777217", True),
        (16_777_217.0, "16777216", False),
        (0.1, "0.1", True),
        (3.0, "3", True),
        ("007", "7", False),
        (None, "nan", False),
    ],
)
def test_a_class_is_a_number_by_its_value(value: Label, name: str, there: bool) -> None:
    assert is_class(value, name) == there


@pytest.mark.parametrize("text", ["3", "10000000", "0.1", "12345678901234"])
def test_a_number_is_written_as_it_is_named(text: str) -> None:
    assert written(float(text)) == text


def test_no_more_images_are_kept_for_validation_than_there_are(digits: Path) -> None:
    cfg = DataConfig(validation_img=200)
    said = r"has 200 images in train, and data.validation_img keeps 200 .*: give data.valid.*=20$"
    with pytest.raises(DataError, match=said):
        loader(digits, cfg)
