"""A checkpoint is whole or it is not used, and one that cannot be written harms none before it.

Checked on real files, with a real full disk where a tmpfs can be mounted.
"""

import json
import logging
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.storage import open_storage, published
from pipeline.training import checkpoints, snapshots
from pipeline.training.fencing import Fence
from pipeline.training.run_files import stage_folder
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import CheckpointError
from stylealae.networks import build

Parts = dict[str, dict[str, Tensor]]


def parts(seen: int, size: int = 64) -> Parts:
    """Three parts of one tensor each, different for every `seen`."""
    return {
        name: {"weight": torch.full((size,), seen + i / 4)}
        for i, name in enumerate(("networks", "ema", "adam"))
    }


def in_folder(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of checkpoints, for a run that lies in a folder."""
    return lambda folder, *given: function(open_storage(folder), *given)


save, latest, prune = map(in_folder, (checkpoints.save, checkpoints.latest, checkpoints.prune))
finish_stage, is_done = map(in_folder, (snapshots.finish_stage, snapshots.is_done))


def saved(run_dir: Path, *seen: int, stage: int = 0) -> list[Path]:
    """One checkpoint at each `seen`; their folders."""
    return [run_dir / save(run_dir, parts(n), {"stage": stage, "seen": n}) for n in seen]


def seen_in(run_dir: Path) -> list[int]:
    """What the checkpoints on disk are called."""
    return sorted(int(f.name.removeprefix("seen-")) for f in run_dir.glob("*/seen-*"))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    state = {"stage": 1, "seen": 96, "config": {"seed": 3, "lr": [0.002]}, "data": "ab"}
    folder = tmp_path / save(tmp_path, parts(96), state)
    assert folder == stage_folder(tmp_path, 1) / "seen-0000000096"
    assert folder.parent.name == "0008"
    found = latest(tmp_path)
    assert found is not None
    assert (found.folder, found.state) == (folder, state)
    for name, tensors in parts(96).items():
        assert found.tensors(name).keys() == tensors.keys()
        assert torch.equal(found.tensors(name)["weight"], tensors["weight"])
    kinds = {"adam.safetensors", "ema.safetensors", "networks.safetensors"}
    assert {f.name for f in folder.iterdir()} == {*kinds, "state.json", "manifest.json"}


def test_the_newest_is_the_one_with_most_images(tmp_path: Path) -> None:
    saved(tmp_path, 8, 96)
    (newest,) = saved(tmp_path, 1_000_000_008, stage=1)
    saved(tmp_path, 104)
    found = latest(tmp_path)
    assert found is not None
    assert found.folder == newest


def test_saving_again_replaces(tmp_path: Path) -> None:
    (folder,) = saved(tmp_path, 8)
    (folder / "ema.safetensors").write_bytes(b"torn")
    assert latest(tmp_path) is None
    saved(tmp_path, 8)
    assert latest(tmp_path) is not None


def flip_a_byte(folder: Path) -> None:
    file = folder / "ema.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def truncate(folder: Path) -> None:
    with (folder / "adam.safetensors").open("r+b") as file:
        file.truncate(100)


def change_the_state(folder: Path) -> None:
    file = folder / "state.json"
    file.write_text(file.read_text().replace("96", "97"))


def drop_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_the_manifest(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_text(file.read_text()[:50])


def zero_the_manifest(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_bytes(bytes(file.stat().st_size))


def empty_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("null")


def drop_a_part(folder: Path) -> None:
    (folder / "networks.safetensors").unlink()


def drop_everything(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def another_format(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))


DAMAGES = [
    flip_a_byte,
    truncate,
    change_the_state,
    drop_the_manifest,
    cut_the_manifest,
    zero_the_manifest,
    empty_the_manifest,
    drop_a_part,
    drop_everything,
    another_format,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=[d.__name__ for d in DAMAGES])
def test_a_torn_checkpoint_is_named_and_the_one_before_used(
    damage: Callable[[Path], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before, torn = saved(tmp_path, 64, 96)
    damage(torn)
    with caplog.at_level(logging.WARNING):
        found = latest(tmp_path)
    assert found is not None
    assert found.folder == before
    assert torch.equal(found.tensors("ema")["weight"], parts(64)["ema"]["weight"])
    (record,) = caplog.records
    assert str(torn) in record.getMessage()


def test_if_all_are_torn_there_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in saved(tmp_path, 64, 96):
        flip_a_byte(folder)
    assert latest(tmp_path) is None
    assert len(caplog.records) == 2


def test_a_half_written_folder_is_no_checkpoint(tmp_path: Path) -> None:
    before, killed = saved(tmp_path, 64, 96)
    partial = killed.with_name(f".{killed.name}.partial")
    killed.rename(partial)
    found = latest(tmp_path)
    assert found is not None
    assert found.folder == before
    saved(tmp_path, 96)
    assert seen_in(tmp_path) == [64, 96]
    prune(tmp_path, 0, 96, 2)
    assert not partial.exists()
    assert seen_in(tmp_path) == [64, 96]


def test_a_copy_that_someone_put_beside_is_left_alone(tmp_path: Path) -> None:
    (folder,) = saved(tmp_path, 64)
    shutil.copytree(folder, folder.with_name("seen-0000000064 (copy)"))
    found = latest(tmp_path)
    assert found is not None
    assert found.folder == folder
    prune(tmp_path, 0, 64, 1)
    assert folder.exists()


class Planted:
    """A pickle of this leaves a file behind when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    (folder,) = saved(tmp_path, 64)
    mark = tmp_path / "read"
    for name in ("networks.pt", "adam.pkl", "ema.bin", "state.pth"):
        (folder / name).write_bytes(pickle.dumps(Planted(mark)))
    found = latest(tmp_path)
    assert found is not None
    for name in ("networks", "ema", "adam"):
        found.tensors(name)
    assert not mark.exists()
    pickle.loads((folder / "ema.bin").read_bytes())
    assert mark.exists()  # it would have been seen


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_prune_keeps_the_newest_of_this_stage_and_the_last_of_those_before(
    tmp_path: Path, keep: int
) -> None:
    saved(tmp_path, 8, 16, 24)
    saved(tmp_path, 32, 40, stage=1)
    saved(tmp_path, 48, 56, 64, stage=2)
    prune(tmp_path, 2, 64, keep)
    assert seen_in(tmp_path) == [24, 40, *[48, 56, 64][-keep:]]


def test_prune_leaves_later_stages_and_snapshots_alone(tmp_path: Path) -> None:
    saved(tmp_path, 8, 16)
    saved(tmp_path, 32, 40, stage=1)
    snapshot = stage_folder(tmp_path, 0) / "snapshot"
    snapshot.mkdir()
    prune(tmp_path, 0, 16, 1)
    assert seen_in(tmp_path) == [16, 32, 40]
    assert snapshot.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs of 300 KB takes root")
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_costs_nothing_but_the_new_checkpoint(small_disk: Path) -> None:
    (before,) = saved(small_disk, 64)
    state = {"stage": 0, "seen": 96}
    with pytest.raises(CheckpointError) as refusal:
        save(small_disk, parts(96, size=50_000), state)
    said = str(refusal.value)
    assert str(stage_folder(small_disk, 0) / "seen-0000000096") in said
    assert f"goes on from {before}" in said
    assert "space" in said
    assert [f.name for f in stage_folder(small_disk, 0).iterdir()] == [before.name]
    found = latest(small_disk)
    assert found is not None
    assert found.folder == before
    saved(small_disk, 96)  # a smaller one fits: the room was given back


def test_a_disk_that_was_full_from_the_start_says_so(small_disk: Path) -> None:
    with pytest.raises(CheckpointError, match="goes on from the beginning"):
        save(small_disk, parts(96, size=50_000), {"stage": 0, "seen": 96})


def test_what_is_published_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "a" / "final"
    with pytest.raises(FileNotFoundError), published(final) as scratch:
        (scratch / "half").symlink_to("nowhere")  # cannot be brought to disk
    assert not list(final.parent.iterdir())
    with published(final) as scratch:
        (scratch / "whole").write_text("whole")
        assert not final.exists()
    assert [f.name for f in final.iterdir()] == ["whole"]
    assert [f.name for f in final.parent.iterdir()] == ["final"]


def model() -> StyleALAE:
    """Something to make a snapshot of."""
    cfg = ModelConfig(
        resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
    )
    return StyleALAE(build(cfg), cfg, torch.zeros(4, 8), stage=1, seen=160)


def test_a_finished_stage_has_a_snapshot_that_loads(tmp_path: Path) -> None:
    assert not is_done(tmp_path, 1)
    finish_stage(tmp_path, 1, model())
    assert is_done(tmp_path, 1)
    assert not is_done(tmp_path, 0)
    loaded = StyleALAE.load(stage_folder(tmp_path, 1) / "snapshot")
    assert (loaded.stage, loaded.seen, loaded.model) == (1, 160, model().model)
    assert torch.equal(loaded.sample(2, seed=1), model().sample(2, seed=1))


def test_what_a_killed_worker_had_begun_of_a_snapshot_is_swept(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    killed = Fence.claim(storage)
    half = stage_folder(tmp_path, 1) / f".snapshot.{killed.token}.0001.partial"
    half.mkdir(parents=True)
    finish_stage(tmp_path, 1, model(), Fence.claim(storage).group(1, 1))
    assert not half.exists()
    assert is_done(tmp_path, 1)


def test_a_snapshot_that_does_not_fit_leaves_the_stage_undone(small_disk: Path) -> None:
    saved(small_disk, 160, stage=1)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 8192))
    with pytest.raises(CheckpointError, match="snapshot"):
        finish_stage(small_disk, 1, model())
    assert not is_done(small_disk, 1)
    filler.unlink()
    finish_stage(small_disk, 1, model())
    assert is_done(small_disk, 1)


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_files_may_be_read_as_far_as_the_umask_lets_them(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (folder,) = saved(tmp_path, 32)
    finally:
        os.umask(before)
    files = list(folder.iterdir())
    assert {file.suffix for file in files} == {".safetensors", ".json"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666 & ~umask}
