"""Of all who ever began to write a run, only the last one goes on; tried with real processes."""

import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from pipeline.storage import open_storage
from pipeline.training import checkpoints, fencing
from pipeline.training.fencing import Fence, FencedError
from stylealae.errors import CheckpointError

CLAIM = """
import sys
from pipeline.training.fencing import Fence
from pipeline.storage import open_storage
for _ in range(8):
    print(Fence.claim(open_storage(sys.argv[1])).token)
"""


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    """Three processes claim as fast as they can, sweeping each other's files away."""
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    claimers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    each = [claimer.communicate(timeout=120)[0].split() for claimer in claimers]
    tokens = [token for taken in each for token in taken]
    assert len(tokens) == len(set(tokens)) == 24
    for taken in each:
        assert taken == sorted(taken)
    last = Fence(open_storage(tmp_path), max(tokens))
    last.require()
    with pytest.raises(FencedError):
        Fence(last.storage, sorted(tokens)[-2]).require()


def test_a_driver_is_out_when_another_begins_and_so_are_its_groups(tmp_path: Path) -> None:
    run = open_storage(tmp_path)
    first = Fence.claim(run)
    group = first.group(1, stage=0)
    for holder in (first, group):
        holder.require()
    second = Fence.claim(run)
    for orphan in (first, group):
        with pytest.raises(FencedError, match=r"taken over.*run_dir"):
            orphan.require()
    with pytest.raises(FencedError):  # its controller, orphaned too, starts another
        first.group(2, stage=0)
    second.require()


def test_a_group_is_out_when_the_next_one_begins(tmp_path: Path) -> None:
    driver = Fence.claim(open_storage(tmp_path))
    cut_off, replacement = driver.group(1, stage=0), driver.group(2, stage=0)
    with pytest.raises(FencedError):
        cut_off.require()
    replacement.require()
    driver.require()


def test_restarts_are_counted_over_drivers_and_stages(tmp_path: Path) -> None:
    run = open_storage(tmp_path)
    driver = Fence.claim(run)
    assert [driver.group(i, stage=0).restarts for i in (1, 2, 3)] == [0, 1, 2]
    assert Fence.claim(run).group(1, stage=0).restarts == 3
    assert Fence.claim(run).group(1, stage=1).restarts == 3


def save(fence: Fence, seen: int) -> None:
    parts = {name: {"w": torch.full((8,), float(seen))} for name in ("networks", "ema", "adam")}
    checkpoints.save(fence.storage, parts, {"stage": 0, "seen": seen}, fence)


def test_an_orphan_publishes_prunes_and_finishes_nothing(tmp_path: Path) -> None:
    run = open_storage(tmp_path)
    orphan = Fence.claim(run).group(1, stage=0)
    save(orphan, 8)
    save(orphan, 16)
    holder = Fence.claim(run).group(1, stage=0)
    for harm in (lambda: save(orphan, 24), lambda: checkpoints.prune(run, 0, 16, 1, orphan)):
        with pytest.raises(FencedError):
            harm()
    assert run.names("0004") == ["seen-0000000008", "seen-0000000016"]
    save(holder, 24)
    checkpoints.prune(run, 0, 24, 1, holder)
    assert run.names("0004") == ["seen-0000000024"]


def test_what_a_newer_writer_is_writing_is_left_alone(tmp_path: Path) -> None:
    """And what an older one left half written is swept away."""
    run = open_storage(tmp_path)
    old = Fence.claim(run).group(1, stage=0)
    save(old, 8)
    folder = tmp_path / "0004"
    torn = folder / f".seen-0000000016.{old.token}.partial"
    under_way = folder / ".seen-0000000016.99999999.0001.partial"
    for scratch in (torn, under_way):
        scratch.mkdir()
    checkpoints.prune(run, 0, 8, 1, Fence.claim(run).group(1, stage=0))
    assert not torn.exists()
    assert under_way.exists()


def test_a_folder_that_hosts_do_not_share_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each host has one of its own under the same path."""
    monkeypatch.setattr(fencing, "VISIBLE_S", 0.1)
    driver = Fence.claim(open_storage(tmp_path / "a/run"))
    (tmp_path / "b/run").mkdir(parents=True)
    worker = Fence(open_storage(tmp_path / "b/run"), driver.token)
    with pytest.raises(CheckpointError, match="run_dir must be a folder that all hosts") as raised:
        worker.group(1, stage=0)
    assert str(tmp_path / "b/run/fence") in str(raised.value)
    assert socket.gethostname() in str(raised.value)
    assert not list((tmp_path / "b/run").iterdir())


def test_a_folder_that_shows_the_driver_late_is_waited_for(tmp_path: Path) -> None:
    driver = Fence.claim(open_storage(tmp_path / "a"))
    appears = threading.Timer(0.3, shutil.copytree, (tmp_path / "a", tmp_path / "b"))
    appears.start()
    Fence(open_storage(tmp_path / "b"), driver.token).group(1, stage=0).require()
    appears.join()


def test_a_run_that_was_moved_is_not_begun_anew_in_its_old_place(tmp_path: Path) -> None:
    run = tmp_path / "run"
    driver = Fence.claim(open_storage(run))
    group = driver.group(1, stage=0)
    run.rename(tmp_path / "elsewhere")
    for holder in (driver, group):
        with pytest.raises(CheckpointError, match="was moved or removed") as raised:
            holder.require()
        assert not isinstance(raised.value, FencedError)
    assert not run.exists()
    Fence.claim(open_storage(run))  # another run is begun there
    with pytest.raises(CheckpointError, match="was moved or removed"):
        group.require()


def test_looks_of_processes_that_were_killed_go_with_the_next_claim(tmp_path: Path) -> None:
    run = open_storage(tmp_path)
    first = Fence.claim(run)
    run.create(f"fence/.look-{first.group(1, stage=0).token}-4711", b"")
    run.create("fence/.look-00000099-4711", b"")  # of who came later
    assert Fence.claim(run).token == "00000002"
    assert run.names("fence") == [".look-00000099-4711", "00000002"]
