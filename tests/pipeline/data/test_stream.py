"""The stream: same images at any world size, resumable at any image, damage found and named."""

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config import DataConfig
from pipeline.data.manifest import Manifest, shard_path
from pipeline.data.shards import prepare
from pipeline.data.sources import open_source
from pipeline.data.stream import Batch, Stream, on_device
from stylealae.errors import DataError

CFG = DataConfig(shuffle_img=40)
MAPPED = replace(CFG, ram_gib=0.0)
TOTAL = 84


def stream(dataset: Path, cfg: DataConfig = CFG, *, resolution: int = 8, **world: int) -> Stream:
    return Stream(dataset, cfg, seed=5, resolution=resolution, **world)


def shown(s: Stream, seen: int, batch: int, stop_at: int) -> Batch:
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
    whole = shown(stream(dataset), 0, 24, 240)
    ranks = [shown(stream(dataset, rank=r, world=world), 0, 24, 240) for r in range(world)]
    share = 24 // world
    for field in ("x", "flip", "sample_ids"):
        parts = [getattr(rank, field).split(share) for rank in ranks]
        together = torch.cat([part for batch in zip(*parts, strict=True) for part in batch])
        assert torch.equal(together, getattr(whole, field))


def test_stopping_and_resuming_equals_not_stopping(dataset: Path) -> None:
    whole = shown(stream(dataset), 0, 1, 200)
    first, second = shown(stream(dataset), 0, 10, 110), shown(stream(dataset), 110, 6, 200)
    for field in ("x", "flip", "sample_ids"):
        together = torch.cat([getattr(first, field), getattr(second, field)])
        assert torch.equal(together, getattr(whole, field))


def test_an_epoch_shows_each_image_once(dataset: Path, photos: Path) -> None:
    s = stream(dataset, resolution=32)
    epoch = shown(s, 0, 12, TOTAL)
    assert epoch.sample_ids.sort().values.tolist() == list(range(TOTAL))
    for x, key in zip(epoch.x, s.keys(epoch.sample_ids), strict=True):
        assert np.array_equal(x.permute(1, 2, 0), np.asarray(Image.open(photos / key)))


@pytest.mark.parametrize("resolution", [4, 32])
def test_memory_and_mapped_files_agree(dataset: Path, resolution: int) -> None:
    held = shown(stream(dataset, resolution=resolution), 0, 12, 168)
    assert equal(held, shown(stream(dataset, MAPPED, resolution=resolution), 0, 12, 168))


def test_every_resolution_shows_the_same_images(dataset: Path) -> None:
    small, large = (shown(stream(dataset, resolution=r), 0, 12, 168) for r in (4, 32))
    assert torch.equal(small.sample_ids, large.sample_ids)
    assert torch.equal(small.flip, large.flip)


def test_fixed_images_are_the_first_of_the_test_split(dataset: Path, photos: Path) -> None:
    first = stream(dataset, resolution=32).fixed(3)
    names = sorted(path.name for path in photos.glob("*.png"))[TOTAL : TOTAL + 3]
    stored = [np.asarray(Image.open(photos / name)).transpose(2, 0, 1) for name in names]
    assert np.array_equal(first, np.stack(stored))
    assert len(stream(dataset).fixed(1000)) == 16


def test_flips_can_be_turned_off(dataset: Path) -> None:
    assert shown(stream(dataset), 0, 12, TOTAL).flip.any()
    assert not shown(stream(dataset, replace(CFG, flip=False)), 0, 12, TOTAL).flip.any()


def test_the_end_and_misuse_are_told_not_hung(dataset: Path) -> None:
    s = stream(dataset)
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
        stream(dataset, rank=0, world=3).start(0, 32, 64)


def test_wrong_resolution_and_split_name_what_there_is(dataset: Path) -> None:
    with pytest.raises(DataError, match="no images of 64x64, only of 4, 8, 16, 32"):
        stream(dataset, resolution=64)
    with pytest.raises(DataError, match="'dev'; its splits are train, test"):
        stream(dataset, replace(CFG, split="dev"))


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    """A copy of the shard set, to be harmed."""
    shutil.copytree(dataset, tmp_path / "copy")
    return tmp_path / "copy"


def fail(dataset: Path, cfg: DataConfig) -> str:
    """What the stream says when an epoch cannot be shown."""
    with pytest.raises(DataError) as caught:
        shown(stream(dataset, cfg), 0, 12, TOTAL)
    return str(caught.value)


@pytest.mark.parametrize("cfg", [CFG, MAPPED], ids=["held", "mapped"])
def test_damage_is_named(copy: Path, cfg: DataConfig) -> None:
    tar = shard_path(copy, 1, 8)
    whole = tar.read_bytes()
    flipped = bytearray(whole)
    flipped[5000] ^= 4  # a pixel
    tar.write_bytes(flipped)
    message = fail(copy, cfg)
    assert "r0008/000001.tar is damaged" in message
    assert "sha256" in message
    assert "stylealae prepare" in message

    tar.write_bytes(whole[:-600])
    assert f"{len(whole) - 600:,} bytes, the manifest says {len(whole):,}" in fail(copy, cfg)

    flipped = bytearray(whole)
    flipped[100] ^= 1  # a header
    tar.write_bytes(flipped)
    assert "r0008/000001.tar" in fail(copy, cfg)

    tar.unlink()
    assert "r0008/000001.tar cannot be opened (No such file" in fail(copy, cfg)


@pytest.mark.parametrize("cfg", [CFG, MAPPED], ids=["held", "mapped"])
def test_a_shard_without_an_intact_image_stops_the_run(copy: Path, cfg: DataConfig) -> None:
    small = shard_path(copy, 4, 8)  # the shard of four images
    flipped = bytearray(small.read_bytes())
    flipped[2000] ^= 4
    small.write_bytes(flipped)
    with pytest.raises(DataError, match="no intact image"):
        shown(stream(copy, replace(cfg, max_broken=100)), 0, 12, TOTAL)


def test_one_broken_webp_is_replaced_by_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        Image.new("RGB", (512, 512), (80 * i, 0, 0)).save(tmp_path / "in" / f"{i}.png")
    prepare(open_source(str(tmp_path / "in")), tmp_path / "d", (512,), workers=1)
    tar = shard_path(tmp_path / "d", 0, 512)
    data = bytearray(tar.read_bytes())
    at = data.index(b"RIFF") + 20
    data[at] ^= 255
    tar.write_bytes(data)
    for cfg in (CFG, MAPPED):
        with pytest.raises(DataError, match=r"00000000\.webp"):
            shown(stream(tmp_path / "d", cfg, resolution=512), 0, 3, 3)
        s = stream(tmp_path / "d", replace(cfg, max_broken=1), resolution=512)
        got = shown(s, 0, 3, 6)
        assert s.broken == 1
        reds = {int(i): int(x[0, 0, 0]) for i, x in zip(got.sample_ids, got.x, strict=True)}
        assert reds == {0: 80, 1: 80, 2: 160}


def test_a_member_outside_the_archive_is_refused(copy: Path) -> None:
    tar = shard_path(copy, 0, 8)
    with tarfile.open(tar, "w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/passwd.u8"), io.BytesIO())
    size = tar.stat().st_size
    manifest = Manifest.read(copy)
    first = manifest.shards[0]
    files = dict(first.files) | {8: replace(first.files[8], bytes=size)}
    shards = (replace(first, files=files), *manifest.shards[1:])
    replace(manifest, shards=shards).write(copy)
    assert "outside the archive" in fail(copy, MAPPED)


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
