"""Whatever can be wrong with a dataset is found, named, and survived or stopped with advice.

Every harm is met by the loader, from memory and from mapped files, and by `verify`.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds

from pipeline.config.sections import DataConfig
from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.format.shard_list import ShardList, list_name
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from pipeline.data.prepare.destination import open_destination
from pipeline.data.prepare.verify import verify
from stylealae.errors import DataError
from tests.pipeline.data.handmade import (
    flip_bit,
    loader_of,
    relist,
    shard_list,
    shard_path,
    span_of,
    write_dataset,
    write_tar,
)

HELD = DataConfig(flip=False, shuffle_img=10)
MAPPED = replace(HELD, ram_gib=0.0)
both = pytest.mark.parametrize("cfg", [HELD, MAPPED], ids=["held", "mapped"])
SIDE = 8


def epoch(folder: Path, cfg: DataConfig, epochs: int = 1) -> tuple[Loader, torch.Tensor]:
    """The loader after some epochs, and the images [N, C, R, R] of the last in manifest order."""
    with loader_of(folder, cfg, seed=1, resolution=SIDE) as loader:
        n = loader.samples
        loader.start(0, n, epochs * n)
        for _ in range(epochs):
            batch = loader.next()
    return loader, batch.x[batch.sample_ids.argsort()]


def refusal(folder: Path, cfg: DataConfig) -> str:
    """What the loader says when it cannot show an epoch."""
    with pytest.raises(DataError) as caught:
        epoch(folder, cfg)
    return str(caught.value)


def plain(tar: Path) -> int:
    """How many samples plain webdataset finds, and no error."""
    return len(list(wds.WebDataset(str(tar), shardshuffle=False, empty_check=False)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards: blocks of 3, 4 and 5 images, and one of 6."""
    write_dataset(tmp_path / "d", [[3, 4, 5], [6]], side=SIDE)
    return tmp_path / "d"


@both
def test_a_whole_set_is_whole(folder: Path, cfg: DataConfig) -> None:
    assert list(verify(folder)) == []
    loader, x = epoch(folder, cfg)
    assert x.shape == (18, 3, SIDE, SIDE)
    assert (loader.broken, loader.replaced) == (0, 0)


@both
@pytest.mark.parametrize("where", ["in the data", "in a header", "between members", "to nothing"])
def test_a_cut_tar(folder: Path, cfg: DataConfig, where: str) -> None:
    tar = shard_path(folder, 0, SIDE)
    whole = tar.read_bytes()
    assert plain(tar) == 3
    second = whole.index(b"00000003.json")
    length = {
        "in the data": whole.index(b"00000003.u8") + 700,
        "in a header": second + 100,
        "between members": whole.index(b"00000003.u8"),
        "to nothing": 0,
    }[where]
    tar.write_bytes(whole[:length])
    if where == "in a header":
        assert plain(tar) == 1  # webdataset takes what is left for all there is
    if where == "between members":
        assert plain(tar) == 2  # and half a sample for one
    message = refusal(folder, cfg)
    assert str(tar) in message
    assert f"{len(whole):,}" in message or "0 bytes" in message
    assert "stylealae prepare" in message
    (fault,) = verify(folder)
    assert f"{tar} has {length:,} bytes, the manifest says {len(whole):,}" == fault


PLACES = (
    *("a name", "a checksum", "the JSON", "a data header", "the pixels", "the padding"),
    *("the index's header", "the index", "the end mark"),
)


def places(tar: Path) -> dict[str, int]:
    """One byte of every kind that a tar consists of."""
    data = tar.read_bytes()
    first, index = data.index(b"00000000.u8"), data.index(b"__index__")
    return {
        "a name": 2,
        "a checksum": 150,
        "the JSON": data.index(b'"ids"'),
        "a data header": first + 130,
        "the pixels": first + 512 + 100,
        "the padding": data.index(b"00000003.json") - 1,
        "the index's header": index + 5,
        "the index": data.index(b'"samples"'),
        "the end mark": len(data) - 1,
    }


@both
@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_anywhere(folder: Path, cfg: DataConfig, place: str) -> None:
    tar = shard_path(folder, 0, SIDE)
    flip_bit(tar, places(tar)[place])
    in_index = "index" in place or "end" in place
    what = "its index" if in_index else "the block of images 0 to 2"
    for message in (refusal(folder, cfg), *verify(folder)):
        assert f"{tar} is damaged: {what} " in message
        assert "sha256" in message
    assert len(list(verify(folder))) == 1


@both
@pytest.mark.parametrize("encoding", ["webp", "png", "jpeg"])
def test_a_flipped_bit_in_an_encoded_image(tmp_path: Path, encoding: str, cfg: DataConfig) -> None:
    pixels = write_dataset(tmp_path, [[1] * 6], side=SIDE, encoding=encoding)
    _, x = epoch(tmp_path, cfg)
    if encoding != "jpeg":
        assert np.array_equal(x, pixels)
    data = shard_path(tmp_path, 0, SIDE).read_bytes()
    magic = {"webp": b"RIFF", "png": b"\x89PNG", "jpeg": b"\xff\xd8\xff"}[encoding]
    third = data.index(magic, data.index(b"00000002.json"))
    flip_bit(shard_path(tmp_path, 0, SIDE), third + 40)
    for message in (refusal(tmp_path, cfg), *verify(tmp_path)):
        assert "r0008/000000.tar is damaged: image 2 " in message
    loader, survived = epoch(tmp_path, replace(cfg, max_broken=1))
    assert (loader.broken, loader.replaced) == (1, 1)
    x[2] = x[3]  # the next intact one stands in
    assert torch.equal(survived, x)


@both
@pytest.mark.parametrize("data", [b"RIFF, but no WebP", b""])
def test_an_image_that_is_none_although_its_hash_fits(
    tmp_path: Path, cfg: DataConfig, data: bytes
) -> None:
    pixels = write_dataset(tmp_path, [[1] * 3], side=SIDE, encoding="webp")
    spans = [span_of(pixels[i : i + 1], i, "webp") for i in range(3)]
    spans[1][1] = ("00000001.webp", data)
    relist(tmp_path, SIDE, 0, write_tar(shard_path(tmp_path, 0, SIDE), spans, [1] * 3))
    assert "image 1 cannot be decoded" in refusal(tmp_path, cfg)
    assert any("the JSON of image 1 says sha256" in fault for fault in verify(tmp_path))
    assert epoch(tmp_path, replace(cfg, max_broken=1))[0].broken == 1


@both
def test_the_count_of_replaced_images_is_exact_and_logged(
    folder: Path, cfg: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    flip_bit(shard_path(folder, 0, SIDE), places(shard_path(folder, 0, SIDE))["the pixels"])
    with caplog.at_level(logging.WARNING):
        loader, _ = epoch(folder, replace(cfg, max_broken=3), epochs=4)
    assert (loader.broken, loader.replaced) == (3, 12)
    assert "the block of images 0 to 2" in caplog.text
    assert "3 images in all; data.max_broken is 3" in caplog.text
    message = refusal(folder, replace(cfg, max_broken=2))
    assert "3 unusable images, data.max_broken is 2" in message


@both
def test_damage_is_met_by_labels_and_labelled_images_as_by_others(
    tmp_path: Path, cfg: DataConfig
) -> None:
    pixels = write_dataset(tmp_path, [[3, 3, 3]], side=SIDE)
    cfg = replace(cfg, label="number:4", labelled_img=2, classes=2)
    flip_bit(shard_path(tmp_path, 0, SIDE), places(shard_path(tmp_path, 0, SIDE))["the pixels"])
    assert "the block of images 0 to 2" in refusal(tmp_path, cfg)
    with loader_of(tmp_path, replace(cfg, max_broken=3), seed=1, resolution=SIDE) as loader:
        x, classes = loader.labelled  # image 0, for which 3 stands in, and 1, for which 4 does
    assert np.array_equal(x, pixels[3:5])
    assert classes.tolist() == [0, 1]
    labels = Dataset.open(replace(cfg, path=str(tmp_path), max_broken=3), SIDE).training_labels()
    assert labels.values(np.arange(9)).tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 0]
    assert (len(labels.broken), labels.replaced) == (3, 3)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_replace_the_same_images_by_the_same(folder: Path, world: int) -> None:
    cfg = replace(MAPPED, max_broken=3)
    _, alone = epoch(folder, cfg)
    flip_bit(shard_path(folder, 0, SIDE), places(shard_path(folder, 0, SIDE))["the pixels"])
    _, wanted = epoch(folder, cfg)
    assert not torch.equal(alone, wanted)
    parts, replaced = [], 0
    for rank in range(world):
        with loader_of(folder, cfg, seed=1, resolution=SIDE, rank=rank, world=world) as loader:
            loader.start(0, 18, 18)
            parts.append(loader.next())
            replaced += loader.replaced
    ids = torch.cat([part.sample_ids for part in parts])
    assert torch.equal(torch.cat([part.x for part in parts])[ids.argsort()], wanted)
    assert replaced == 3


@both
def test_a_missing_shard(folder: Path, cfg: DataConfig) -> None:
    tar = shard_path(folder, 1, SIDE)
    tar.unlink()
    message = refusal(folder, cfg)
    assert f"{tar} cannot be opened (No such file or directory)" in message
    assert "stylealae prepare" in message
    assert list(verify(folder)) == [f"{tar} is missing"]
    assert "cannot be opened" in refusal(folder, replace(cfg, max_broken=100))


@both
def test_a_web_page_in_place_of_a_shard(folder: Path, cfg: DataConfig) -> None:
    tar = shard_path(folder, 0, SIDE)
    page = b"<!DOCTYPE html><title>Sign in</title>"
    tar.write_bytes(page)
    assert f"{tar} is damaged: it has {len(page)} bytes" in refusal(folder, cfg)
    assert "it begins like a web page" in refusal(folder, cfg)
    assert len(list(verify(folder))) == 1
    (folder / MANIFEST).write_bytes(page)
    assert f"{folder / MANIFEST} cannot be read" in refusal(folder, cfg)


@both
def test_a_wrong_hash_in_the_manifest_or_its_list(folder: Path, cfg: DataConfig) -> None:
    manifest = Manifest.read(folder)
    found = shard_list(folder, SIDE)

    def with_list(changed: ShardList) -> None:
        now = replace(manifest, shards={SIDE: changed.digest})
        open_destination(folder).complete(now, {SIDE: changed})

    with_list(replace(found, index_sha256=["0" * 64, found.index_sha256[1]]))
    assert "000000.tar is damaged: its index" in refusal(folder, cfg)
    with_list(replace(found, sha256=["0" * 64, found.sha256[1]]))
    (fault,) = verify(folder)
    assert f"the manifest says {'0' * 64}" in fault
    with_list(replace(found, samples=np.array([12, 7])))
    assert "counts 6 images" in refusal(folder, cfg)
    with_list(found)
    (folder / list_name(SIDE)).write_text("{}")
    message = refusal(folder, cfg)
    assert "r0008/shards.json is damaged" in message
    assert "another dataset" in message
    assert any("shards.json is damaged" in fault for fault in verify(folder))


def test_another_format_version(folder: Path) -> None:
    found = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(found | {"format": 1}))
    message = refusal(folder, MAPPED)
    assert "has format 1 and this version reads format 2: prepare the dataset anew" in message
    with pytest.raises(DataError, match="has format 1"):
        list(verify(folder))


@both
def test_two_datasets_mixed_in_one_folder(folder: Path, cfg: DataConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_dataset(other, [[3, 4, 5], [5], [2]], side=SIDE)
    stray = shutil.copy(shard_path(other, 2, SIDE), shard_path(folder, 2, SIDE))
    assert list(verify(folder)) == [
        f"{stray} is not in the manifest: remove it, or find out which dataset it belongs to"
    ]
    epoch(folder, cfg)  # what is in the manifest is whole
    shutil.copy(shard_path(other, 0, SIDE), shard_path(folder, 0, SIDE))
    assert "000000.tar is damaged" in refusal(folder, cfg)
    shutil.copytree(other / "r0008", folder / "r0008", dirs_exist_ok=True)
    assert "r0008/shards.json is damaged" in refusal(folder, cfg)


@both
@pytest.mark.parametrize("name", ["../../x.u8", "/etc/x.u8", "00000000.pickle", "00000000.pyd"])
def test_a_member_that_has_no_place_here(folder: Path, cfg: DataConfig, name: str) -> None:
    pixels = np.zeros((6, 3, SIDE, SIDE), np.uint8)
    text, (_, data) = span_of(pixels, 0, "block")
    file = write_tar(shard_path(folder, 1, SIDE), [[text, (name, data)]], [6])
    relist(folder, SIDE, 1, file)
    for message in (refusal(folder, cfg), *verify(folder)):
        assert "r0008/000001.tar is damaged: the block of images 0 to 5 holds" in message
        assert name in message


@both
def test_a_shard_without_an_intact_image_stops_the_run(folder: Path, cfg: DataConfig) -> None:
    tar = shard_path(folder, 1, SIDE)
    flip_bit(tar, 3000)
    assert "no intact image" in refusal(folder, replace(cfg, max_broken=100))


CUT = """
import os, sys, time
from pipeline.config.sections import DataConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from stylealae.errors import DataError
folder, tar = sys.argv[1:]
cfg = DataConfig(path=folder, ram_gib=0.0, shuffle_img=10, prefetch=1)
with Loader(Dataset.open(cfg, 64), seed=1) as loader:
    n = loader.samples
    loader.start(0, n, 1000 * n)
    loader.next()  # every span was read, checked and kept
    busy = -1.0
    while time.process_time() - busy > 0.05:  # what reads ahead is in the midst of a batch
        busy = time.process_time()
        time.sleep(0.5)
    os.truncate(tar, 600)
    try:
        for _ in range(10):
            loader.next()
    except DataError as error:
        print(error)
"""


@pytest.mark.parametrize("encoding", ["block", "webp"])
def test_a_tar_cut_while_it_is_read_is_an_error_and_not_a_crash(
    encoding: str, tmp_path: Path
) -> None:
    """A process that touches a map beyond the file's end is ended by SIGBUS."""
    folder, spans = tmp_path / "d", [4, 4, 4] if encoding == "block" else [1] * 12
    write_dataset(folder, [spans], side=64, encoding=encoding)
    tar = shard_path(folder, 0, 64)
    length = tar.stat().st_size
    command = [sys.executable, "-c", CUT, str(folder), str(tar)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "r0064/000000.tar is damaged: it has 600 bytes, the manifest says" in done.stdout
    assert length > 100_000
