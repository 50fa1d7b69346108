"""Datasets in an object store: real S3 traffic on loopback, through a proxy that misbehaves.

`gs://` and `az://` take the same way through fsspec; `memory://` stands in for them here.
"""

import errno
import itertools
import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from pipeline.config.sections import DataConfig
from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.images import read_images
from pipeline.data.loader.batch import Batch
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from pipeline.data.prepare.shards import prepare
from pipeline.data.prepare.verify import verify
from pipeline.data.sources.registry import open_source
from pipeline.storage import object_store
from pipeline.storage.object_store import ObjectStorage
from pipeline.storage.retry import Retry
from stylealae.errors import DataError
from tests.pipeline.data.handmade import loader_of, shard_path, write_dataset
from tests.pipeline.storage.clock import Clock

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
from tests.pipeline.storage.bucket import Bucket, Fault, bucket

URL = "s3://faces/some/set"


@pytest.fixture(scope="module")
def running() -> Iterator[Bucket]:
    with bucket() as found:
        yield found


@pytest.fixture
def store(running: Bucket) -> Iterator[Bucket]:
    """The store, behaving well at first."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    running.misbehave, running.delay_s = lambda method, path: None, 0.0
    yield running
    running.misbehave, running.delay_s = lambda method, path: None, 0.0


@pytest.fixture
def cfg(tmp_path: Path) -> DataConfig:
    return DataConfig(shuffle_img=40, cache=str(tmp_path / "cache"), patience_s=60)


@pytest.fixture
def small(store: Bucket, tmp_path: Path) -> Path:
    """Two shards of five blocks, uploaded."""
    folder = tmp_path / "small"
    write_dataset(folder, [[3, 4, 5], [6, 2]], side=8)
    store.upload(folder, URL)
    store.served.clear()
    return folder


def epoch(where: str | Path, cfg: DataConfig, resolution: int = 8) -> tuple[Loader, Batch]:
    with loader_of(where, cfg, seed=5, resolution=resolution) as s:
        s.start(0, s.samples, s.samples)
        return s, s.next()


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, f), getattr(b, f)) for f in ("x", "flip", "sample_ids"))


@pytest.mark.parametrize("ram_gib", [0.0, 1.0])
def test_a_bucket_shows_what_the_folder_shows(
    store: Bucket, dataset: Path, cfg: DataConfig, ram_gib: float
) -> None:
    store.upload(dataset, URL)
    cfg = replace(cfg, ram_gib=ram_gib)
    for resolution in (4, 32):
        assert same(epoch(URL, cfg, resolution)[1], epoch(dataset, cfg, resolution)[1])
    opened = Dataset.open(replace(cfg, path=URL), 8)
    assert [image.name for image in read_images([URL], 8, count=2)] == ["000.v1.png", "001.v1.png"]
    assert len(opened.first(100)) == 16
    assert Manifest.read(URL).digest == Manifest.read(dataset).digest
    assert list(verify(URL)) == []


def test_what_was_fetched_is_not_fetched_again(store: Bucket, small: Path, cfg: DataConfig) -> None:
    _, first = epoch(URL, cfg)
    assert store.bytes_of(".tar") == sum(p.stat().st_size for p in small.rglob("*.tar"))
    store.served.clear()
    _, again = epoch(URL, cfg)
    assert store.bytes_of(".tar") == 0
    assert same(first, again)


def test_what_is_held_in_memory_is_not_fetched_again_whatever_the_cache_keeps(
    store: Bucket, small: Path, cfg: DataConfig
) -> None:
    images = Dataset.open(replace(cfg, path=URL, cache_gib=0.0), 8).training_split()
    images.take(np.arange(20))
    store.served.clear()
    images.prefetch(np.arange(20))
    time.sleep(0.2)
    images.close()
    for thread in threading.enumerate():
        if thread.name.startswith("fetch"):
            thread.join()
    assert store.bytes_of(".tar") == 0


def test_the_cache_is_keyed_by_place_and_hash(
    store: Bucket, small: Path, cfg: DataConfig, tmp_path: Path
) -> None:
    """Another set under the same name, and the same name elsewhere, are never mixed up."""
    epoch(URL, cfg)
    other = tmp_path / "other"
    write_dataset(other, [[3, 4, 5], [7, 2]], side=8)
    for place in (URL, "s3://faces/elsewhere"):
        store.upload(other, place)
        assert same(epoch(place, cfg)[1], epoch(other, cfg)[1])


def test_a_cached_copy_that_went_bad_is_fetched_again(
    store: Bucket, small: Path, cfg: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    epoch(URL, cfg)
    for path in Path(cfg.cache).iterdir():
        if path.is_file() and len(path.name) == 64:
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert same(epoch(URL, cfg)[1], epoch(small, cfg)[1])
    assert "a cached copy of r0008/000000.tar is damaged: it is fetched again" in caplog.text


@pytest.mark.parametrize("cache_gib", [0.0, 4e-6])
def test_what_a_cache_cannot_keep_is_fetched_when_it_is_shown_and_not_before(
    store: Bucket, small: Path, cfg: DataConfig, cache_gib: float
) -> None:
    got = epoch(URL, replace(cfg, cache_gib=cache_gib, ram_gib=0.0))[1]
    assert store.bytes_of(".tar") == sum(p.stat().st_size for p in small.rglob("*.tar"))
    assert same(got, epoch(small, cfg)[1])


def test_images_with_labels_that_no_cache_keeps_are_fetched_once(
    store: Bucket, cfg: DataConfig, tmp_path: Path
) -> None:
    """Encoded ones, each of which has its label beside it."""
    folder = tmp_path / "large"
    prepare(open_source("rendered:4", test_fraction=0.0), folder, (4, 512), workers=1)
    store.upload(folder, URL)
    images = Dataset.open(
        replace(cfg, path=URL, cache_gib=0.0, ram_gib=0.0, label="age"), 512
    ).training_split()
    images.prefetch(np.arange(4))
    store.served.clear()
    shown, ages = images.take(np.arange(4))
    images.close()
    assert store.bytes_of(".tar") <= sum(p.stat().st_size for p in folder.rglob("r0512/*.tar"))
    assert ages is not None
    assert len(set(ages.tolist())) == 4
    assert (shown[0] != shown[1]).any()


def test_the_first_batch_does_not_wait_for_the_rest(
    store: Bucket, cfg: DataConfig, tmp_path: Path
) -> None:
    """The store holds back what is asked later until the first batch is here."""
    write_dataset(tmp_path / "d", [[1] * 100] * 4, side=8, encoding="webp")
    store.upload(tmp_path / "d", URL)
    given, here, lock = itertools.count(), threading.Event(), threading.Lock()
    needed: list[str] = []

    def misbehave(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith(".tar"):
            with lock:
                late = next(given) >= 8  # the first four images, and the indexes of their tars
            if late and not here.wait(10):
                needed.append(path)
        return None

    store.misbehave = misbehave
    with loader_of(URL, replace(cfg, shuffle_img=400), seed=5, resolution=8) as s:
        s.start(0, 4, 4000)
        assert len(s.next().x) == 4
        here.set()
    assert not needed


def retry(clock: Clock, patience_s: float) -> Retry:
    """How a data set's store is retried, by another clock."""
    return Retry(
        where=URL, setting="data.patience_s", error=DataError, patience_s=patience_s,
        sleep=clock.sleep, now=clock,
    )  # fmt: skip


def test_twenty_seconds_of_503_are_survived(
    store: Bucket, small: Path, cfg: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    clock, asked, ids = Clock(), [], np.arange(20)
    whole = Dataset.open(replace(cfg, path=str(small)), 8).take("train", ids)
    opened = Dataset(ObjectStorage(URL, retry(clock, 60.0)), cfg, 8)

    def misbehave(method: str, path: str) -> Fault:
        asked.append(path)
        return 503 if clock() < 20 else None

    store.misbehave = misbehave
    with caplog.at_level(logging.WARNING):
        assert torch.equal(opened.take("train", ids), whole)
    assert 4 < len(asked) < 200  # back-off, no storm
    assert f"{URL} does not answer" in caplog.text
    assert f"{URL} answers again" in caplog.text


@pytest.mark.parametrize("fault", ["reset", "stall", 500, 503])
def test_every_third_answer_fails(
    store: Bucket, small: Path, cfg: DataConfig, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "STALL_S", 1.0)
    count = iter(range(10_000))
    store.misbehave = lambda method, path: fault if next(count) % 3 == 1 else None
    assert same(epoch(URL, cfg)[1], epoch(small, cfg)[1])


def test_patience_ends_with_what_to_do(store: Bucket, small: Path, cfg: DataConfig) -> None:
    clock = Clock()
    opened = Dataset(ObjectStorage(URL, retry(clock, 300.0)), cfg, 8)
    store.misbehave = lambda method, path: 503
    with pytest.raises(DataError) as caught:
        opened.take("train", np.arange(4))
    assert 300 < clock() < 311
    message = str(caught.value)
    assert f"{URL}/r0008/00000" in message
    assert "data.patience_s" in message


def test_closing_does_not_wait_for_a_store_that_is_down(
    store: Bucket, small: Path, cfg: DataConfig
) -> None:
    s, asked = (
        loader_of(URL, replace(cfg, patience_s=3600), seed=5, resolution=8),
        threading.Event(),
    )

    def down(method: str, path: str) -> Fault:
        asked.set()
        return 503

    store.misbehave = down
    s.start(0, 4, 8)
    assert asked.wait(60)
    s.close()  # or the test takes an hour
    assert "loader" not in {thread.name for thread in threading.enumerate()}


def test_closing_a_loader_leaves_another_of_the_same_data_set_waiting(
    store: Bucket, small: Path, cfg: DataConfig
) -> None:
    dataset = Dataset.open(replace(cfg, path=URL, patience_s=3600), 8)
    asked = threading.Semaphore(0)
    first, second = Loader(dataset, seed=5), Loader(dataset, seed=5)

    def down(method: str, path: str) -> Fault:
        asked.release()
        return 503

    store.misbehave = down
    for loader in (first, second):
        loader.start(0, 20, 20)
    for _ in range(4):
        assert asked.acquire(timeout=60)
    first.close()
    store.misbehave = lambda method, path: None
    with second:
        assert same(second.next(), epoch(small, cfg)[1])


def test_no_right_to_read_is_told_at_once(store: Bucket, small: Path, cfg: DataConfig) -> None:
    store.misbehave = lambda method, path: 403
    with pytest.raises(DataError, match=r"cannot be read \(PermissionError.*credentials"):
        epoch(URL, replace(cfg, patience_s=3600))


def test_what_is_not_there_is_named(store: Bucket, small: Path, cfg: DataConfig) -> None:
    with pytest.raises(DataError, match=r"s3://faces/nothing holds no manifest\.json"):
        epoch("s3://faces/nothing", cfg)
    with pytest.raises(DataError, match=r"s3://nobucket/x holds no manifest\.json"):
        epoch("s3://nobucket/x", cfg)
    fsspec.filesystem("s3").rm(f"{URL}/r0008/000001.tar")
    with pytest.raises(DataError, match=rf"{URL}/r0008/000001\.tar is missing, and the manifest"):
        epoch(URL, cfg)
    assert list(verify(URL)) == [f"{URL}/r0008/000001.tar is missing"]


def test_a_web_page_instead_of_images_is_named(store: Bucket, small: Path, cfg: DataConfig) -> None:
    page = b"<!DOCTYPE html><title>Sign in to the network</title>"
    store.misbehave = lambda method, path: page if path.endswith(".tar") else None
    with pytest.raises(DataError, match=r"r0008/00000\d\.tar is damaged: .*like a web page"):
        epoch(URL, cfg)
    store.misbehave = lambda method, path: page if path.endswith(MANIFEST) else None
    with pytest.raises(DataError, match=rf"{URL}/manifest\.json cannot be read"):
        epoch(URL, cfg)


def damaged_bucket(store: Bucket, small: Path) -> None:
    """The data set in the bucket, a bit of a block flipped."""
    tar = shard_path(small, 0, 8)
    data = bytearray(tar.read_bytes())
    data[3000] ^= 1
    tar.write_bytes(data)
    store.upload(small, URL)


def test_damage_in_the_bucket_is_named_and_counted(
    store: Bucket, small: Path, cfg: DataConfig
) -> None:
    damaged_bucket(store, small)
    with pytest.raises(DataError, match=rf"{URL}/r0008/000000\.tar is damaged: the block of"):
        epoch(URL, cfg)
    s, _ = epoch(URL, replace(cfg, max_broken=10))
    assert s.broken == s.replaced == 4


def test_damage_that_is_met_again_keeps_nothing_of_whoever_meets_it(
    store: Bucket, small: Path, cfg: DataConfig
) -> None:
    damaged_bucket(store, small)
    images, depths = Dataset.open(replace(cfg, path=URL), 8), []
    for _ in range(3):
        with pytest.raises(DataError) as met:
            images.take("train", np.arange(images.count("train")))
        depths.append(len([*traceback.walk_tb(met.value.__traceback__)]))
    assert depths[1] == depths[2]  # a traceback holds what its frames do


def test_a_tar_cut_in_the_bucket_is_named_soon(store: Bucket, small: Path, cfg: DataConfig) -> None:
    tar = shard_path(small, 0, 8)
    whole = tar.read_bytes()
    for length in (300, len(whole) - 600):
        tar.write_bytes(whole[:length])
        store.upload(small, URL)
        with pytest.raises(DataError, match=r"r0008/000000\.tar is damaged: its index"):
            epoch(URL, replace(cfg, patience_s=3600))
        (fault,) = verify(URL)
        assert fault.endswith(f"has {length:,} bytes, the manifest says {len(whole):,}")


def test_a_cache_disk_that_fills_up_is_survived(
    cfg: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Faked here; test_cache.py fills a real small disk where it may mount one."""
    folder = tmp_path / "d"
    pixels = write_dataset(folder, [[3, 4, 5]], side=8)
    fsspec.filesystem("memory").put(str(folder), "/set", recursive=True)

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    _, batch = epoch("memory://set", cfg)
    assert np.array_equal(batch.x[batch.sample_ids.argsort()], pixels)
    assert caplog.text.count("takes no more (No space left on device)") == 1
