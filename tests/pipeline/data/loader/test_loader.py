"""The loader: the same images at any world size, resumable at any image."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config.sections import DataConfig
from pipeline.data.images import read_images
from pipeline.data.loader.batch import Batch, on_device
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError
from tests.pipeline.data.handmade import loader_of, write_dataset

CFG = DataConfig(shuffle_img=40)
MAPPED = replace(CFG, ram_gib=0.0)
TOTAL = 84


def loader(dataset: Path, cfg: DataConfig = CFG, *, resolution: int = 8, **world: int) -> Loader:
    return loader_of(dataset, cfg, seed=5, resolution=resolution, **world)


def names(dataset: Path, sample_ids: torch.Tensor) -> list[str]:
    """The names of training images in their source."""
    every = [image.name for image in read_images([dataset], 4)]  # those to train on come first
    return [every[i] for i in sample_ids.tolist()]


def shown(s: Loader, seen: int, batch: int, stop_at: int) -> Batch:
    """All batches from `seen` to `stop_at`, end to end."""
    with s:
        s.start(seen, batch, stop_at)
        parts = [s.next() for _ in range(seen, stop_at, batch)]
    return Batch(
        torch.cat([b.x for b in parts]),
        torch.cat([b.flip for b in parts]),
        torch.cat([b.sample_ids for b in parts]),
    )


def equal(a: Batch, b: Batch) -> bool:
    """Whether images, flips and ids agree."""
    return all(torch.equal(getattr(a, f), getattr(b, f)) for f in ("x", "flip", "sample_ids"))


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_any_number_of_ranks_shows_the_same_batches(dataset: Path, world: int) -> None:
    whole = shown(loader(dataset), 0, 24, 240)
    ranks = [shown(loader(dataset, rank=r, world=world), 0, 24, 240) for r in range(world)]
    share = 24 // world
    for field in ("x", "flip", "sample_ids"):
        parts = [getattr(rank, field).split(share) for rank in ranks]
        together = torch.cat([part for batch in zip(*parts, strict=True) for part in batch])
        assert torch.equal(together, getattr(whole, field))


def test_stopping_and_resuming_equals_not_stopping(dataset: Path) -> None:
    whole = shown(loader(dataset), 0, 1, 200)
    first, second = shown(loader(dataset), 0, 10, 110), shown(loader(dataset), 110, 6, 200)
    for field in ("x", "flip", "sample_ids"):
        together = torch.cat([getattr(first, field), getattr(second, field)])
        assert torch.equal(together, getattr(whole, field))


def test_an_epoch_shows_each_image_once(dataset: Path, photos: Path) -> None:
    s = loader(dataset, resolution=32)
    epoch = shown(s, 0, 12, TOTAL)
    assert epoch.sample_ids.sort().values.tolist() == list(range(TOTAL))
    for x, key in zip(epoch.x, names(dataset, epoch.sample_ids), strict=True):
        assert np.array_equal(x.permute(1, 2, 0), np.asarray(Image.open(photos / key)))


@pytest.mark.parametrize("resolution", [4, 32])
def test_memory_and_mapped_files_agree(dataset: Path, resolution: int) -> None:
    held = shown(loader(dataset, resolution=resolution), 0, 12, 168)
    assert equal(held, shown(loader(dataset, MAPPED, resolution=resolution), 0, 12, 168))


def test_every_resolution_shows_the_same_images(dataset: Path) -> None:
    small, large = (shown(loader(dataset, resolution=r), 0, 12, 168) for r in (4, 32))
    assert torch.equal(small.sample_ids, large.sample_ids)
    assert torch.equal(small.flip, large.flip)


def test_fixed_images_are_the_first_of_the_test_split(dataset: Path, photos: Path) -> None:
    opened = Dataset.open(replace(CFG, path=str(dataset)), 32)
    files = sorted(path.name for path in photos.glob("*.png"))[TOTAL : TOTAL + 3]
    stored = [np.asarray(Image.open(photos / name)).transpose(2, 0, 1) for name in files]
    assert np.array_equal(opened.first(3), np.stack(stored))
    assert len(opened.first(1000)) == 16


def test_flips_can_be_turned_off(dataset: Path) -> None:
    assert shown(loader(dataset), 0, 12, TOTAL).flip.any()
    assert not shown(loader(dataset, replace(CFG, flip=False)), 0, 12, TOTAL).flip.any()


def test_the_end_and_misuse_are_told_not_hung(dataset: Path) -> None:
    s = loader(dataset)
    with pytest.raises(RuntimeError, match="start"):
        s.next()
    s.start(0, 12, 24)
    assert [len(s.next().x) for _ in range(2)] == [12, 12]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="up to 24"):
            s.next()
    s.close()
    s.close()
    with pytest.raises(DataError, match="shared evenly by 3"):
        loader(dataset, rank=0, world=3).start(0, 32, 64)


def test_wrong_resolution_and_split_name_what_there_is(dataset: Path) -> None:
    with pytest.raises(DataError, match="no images of 64x64, only of 4, 8, 16, 32"):
        loader(dataset, resolution=64)
    with pytest.raises(DataError, match="'dev'; its splits are train, test"):
        loader(dataset, replace(CFG, split="dev"))


@pytest.mark.parametrize("resolution", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_fifty_stops_resumes_and_changes_of_ranks(dataset: Path, resolution: int) -> None:
    """Each continues with the very next image, on as many ranks as there happen to be."""
    draw, batch = np.random.default_rng(resolution), 24
    whole = shown(loader(dataset, resolution=resolution), 0, batch, 150 * batch)
    seen = 0
    for _ in range(50):
        world, cfg = int(draw.choice([1, 2, 3, 4, 8])), CFG if draw.random() < 0.5 else MAPPED
        stop = seen + batch * int(draw.integers(1, 4))
        ranks = [
            loader(dataset, cfg, resolution=resolution, rank=r, world=world) for r in range(world)
        ]
        for rank in ranks:
            rank.start(seen, batch, 150 * batch)
        while seen < stop:
            parts = [rank.next() for rank in ranks]
            for field in ("x", "flip", "sample_ids"):
                together = torch.cat([getattr(part, field) for part in parts])
                assert torch.equal(together, getattr(whole, field)[seen : seen + batch])
            seen += batch
        for rank in ranks:
            rank.close()


@pytest.mark.parametrize("cfg", [CFG, MAPPED], ids=["held", "mapped"])
def test_labels_come_with_their_images(dataset: Path, photos: Path, cfg: DataConfig) -> None:
    with loader(dataset, replace(cfg, label="age")) as s:
        s.start(0, 12, TOTAL)
        for batch in (s.next() for _ in range(TOTAL // 12)):
            assert batch.labels.dtype == torch.float32
            wanted = [int(key[:3]) / 4 for key in names(dataset, batch.sample_ids)]
            assert batch.labels.tolist() == wanted
    with loader(dataset, cfg) as s:
        s.start(0, 12, 12)
        assert s.next().labels is None


def test_labels_that_are_not_there_or_no_numbers(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no label 'size', only age, parity"):
        loader(dataset, replace(CFG, label="size"))
    with pytest.raises(DataError, match=r"'parity' holds text such as '(odd|even)'"):
        shown(loader(dataset, replace(CFG, label="parity")), 0, 12, 12)


@pytest.mark.parametrize(("classes", "odd"), [(25, "0.25"), (0, "")])
def test_labels_that_number_no_classes_are_refused_where_classes_are_wanted(
    dataset: Path, classes: int, odd: str
) -> None:
    cfg = replace(CFG, label="age")  # quarters, up to 24.75
    with loader(dataset, cfg, classes=classes) as s:
        s.start(0, 12, TOTAL)
        if odd:
            with pytest.raises(DataError, match=r"'age' is .*model\.classes is 25: .* 0 to 24"):
                s.next()
        else:
            s.next()


def test_one_class_of_a_label_is_yes_or_no(dataset: Path) -> None:
    with loader(dataset, replace(CFG, label="parity:odd")) as s:
        s.start(0, 12, 12)
        batch = s.next()
        wanted = [float(key[:3]) % 2 for key in names(dataset, batch.sample_ids)]
    assert batch.labels is not None
    assert batch.labels.tolist() == wanted


def test_a_class_that_no_image_has_is_refused_with_others(dataset: Path) -> None:
    with pytest.raises(DataError, match=r"is parity:od, and none of 84 .* such as odd"):
        loader(dataset, replace(CFG, label="parity:od"))
    with pytest.raises(DataError, match=r"'x' there: .* such as 0, 0\.25, 0\.5, 0\.75, 1; correct"):
        loader(dataset, replace(CFG, label="age:x"))


def test_a_class_of_many_digits_is_found(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "in")
    rows = [f"{i:03d}.v1.png,{10_000_000 + i % 2}" for i in range(100)]
    (tmp_path / "in" / "labels.csv").write_text("\n".join(["file,person", *rows]))
    prepare(open_source(str(tmp_path / "in")), tmp_path / "d", (4,), workers=1)
    cfg = replace(CFG, label="person:10000001")
    with loader(tmp_path / "d", cfg, resolution=4) as s:
        (batch,) = s.batches(0, 12, 1)
    assert batch.labels is not None
    assert batch.labels.tolist() == [i % 2 for i in batch.sample_ids.tolist()]
    cfg = replace(CFG, label="person")
    with pytest.raises(DataError, match=r"data\.label=person:1000000[01] is 1 where"):
        shown(loader(tmp_path / "d", cfg, resolution=4, classes=2), 0, 12, 12)


def test_what_is_unknown_is_nan(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "in")
    (tmp_path / "in" / "labels.csv").write_text("file,age\n000.v1.png,3\n001.v1.png,\n")
    prepare(open_source(str(tmp_path / "in")), tmp_path / "d", (4,), workers=1)
    with loader(tmp_path / "d", replace(CFG, label="age"), resolution=4) as s:
        s.start(0, 98, 98)
        labels = s.next().labels
    assert labels[labels.isfinite()].tolist() == [3]


def test_large_images_are_decoded_in_order(tmp_path: Path) -> None:
    pixels = write_dataset(tmp_path, [[1] * 9, [1] * 8], side=16, encoding="webp")
    for cfg in (CFG, MAPPED, replace(MAPPED, decoders=1)):
        got = shown(loader(tmp_path, cfg, resolution=16), 0, 4, 68)
        assert np.array_equal(got.x, pixels[got.sample_ids])


@pytest.mark.parametrize("resolution", [4, 16])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_on_device_against_the_formula(resolution: int, alpha: float) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 3, resolution, resolution), dtype=np.uint8)
    mirrored = np.array([True, False] * 3)
    want = np.empty(pixels.shape)
    for i, image in enumerate(pixels):
        x = image / 127.5 - 1
        x = x[:, :, ::-1] if mirrored[i] else x
        half = resolution // 2
        coarse = x.reshape(3, half, 2, half, 2).mean((2, 4)).repeat(2, 1).repeat(2, 2)
        want[i] = x if resolution == 4 else alpha * x + (1 - alpha) * coarse
    batch = Batch(torch.from_numpy(pixels), torch.from_numpy(mirrored), torch.arange(6))
    got = on_device(batch, alpha, "cpu")
    assert got.dtype == torch.float32
    assert np.abs(got.numpy() - want).max() < 1e-6


def test_images_alone_are_not_flipped() -> None:
    x = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 1, 2, 2)
    assert on_device(x, 1.0, "cpu").flatten().tolist() == [-1, 1, -1, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_reach_a_gpu_as_they_are(dataset: Path) -> None:
    host = shown(loader(dataset, resolution=32), 0, 12, 240)
    with loader_of(dataset, CFG, seed=5, resolution=32, device="cuda") as s:
        s.start(0, 12, 240)
        for k in range(20):
            batch = s.next()
            assert batch.x.is_cuda
            part = slice(12 * k, 12 * k + 12)
            wanted = on_device(
                Batch(host.x[part], host.flip[part], host.sample_ids[part]), 0.5, "cpu"
            )
            assert torch.allclose(on_device(batch, 0.5, "cuda").cpu(), wanted, atol=1e-6)
