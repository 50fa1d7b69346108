"""Saving beside the step: what was copied is what is saved, and no failure is lost.

One rank in a gloo group; the time that writing takes is made long where it matters.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.sections import CheckpointConfig
from pipeline.storage import open_storage
from pipeline.training import checkpoints
from pipeline.training.async_checkpoint import Saver
from pipeline.training.fencing import Fence, FencedError
from pipeline.world import World
from stylealae import tensor_file
from stylealae.errors import CheckpointError, DivergenceError

Parts = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def world() -> World:
    """A world of one, which agrees with itself over gloo."""
    if not dist.is_initialized():
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    return World(0, 1, torch.device("cpu"))


class Gate:
    """Holds the writing of a checkpoint back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.reached, self.inside = threading.Event(), threading.Event(), 0
        self.most = 0
        save = checkpoints.save

        def slow(*given: Any) -> str:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.reached.set()
            self.open.wait(20)
            try:
                return save(*given)
            finally:
                self.inside -= 1

        monkeypatch.setattr(checkpoints, "save", slow)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def parts(value: float) -> Parts:
    return {name: {"w": torch.full((64,), value)} for name in ("networks", "ema", "adam")}


def about(seen: int) -> Mapping[str, Any]:
    return {"stage": 0, "seen": seen}


def saved(run_dir: Path) -> dict[int, float]:
    """What lies on disk: images seen and the value of the weights."""
    found = {}
    for folder in sorted(run_dir.glob("0004/seen-*")):
        weights = checkpoints.Checkpoint(folder, {}, "").tensors("networks")["w"]
        found[int(folder.name[5:])] = float(weights.mean())
    return found


def saver(run_dir: Path, world: World, fence: Fence | None = None, **cfg: Any) -> Saver:
    return Saver(open_storage(run_dir), CheckpointConfig(**cfg), world, fence)


def test_training_goes_on_while_what_was_copied_is_written(
    tmp_path: Path, world: World, gate: Gate
) -> None:
    s, state = saver(tmp_path, world), parts(1.0)
    s.save(state, about(8))
    assert gate.reached.wait(10)
    for tensors in state.values():
        tensors["w"].fill_(9.0)  # the next steps
    assert saved(tmp_path) == {}
    gate.open.set()
    s.finish()
    assert saved(tmp_path) == {8: 1.0}


def test_there_is_never_more_than_one_save_under_way(
    tmp_path: Path, world: World, gate: Gate
) -> None:
    s = saver(tmp_path, world, keep=5)
    gate.open.set()
    for seen in (8, 16, 24, 32):
        s.save(parts(float(seen)), about(seen))
    s.finish()
    assert gate.most == 1
    assert saved(tmp_path) == {8: 8.0, 16: 16.0, 24: 24.0, 32: 32.0}


class Allocations(TorchDispatchMode):
    """Counts the tensors that are made of fresh memory."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, op, types, given=(), named=None):
        self.count += op._overloadpacket.__name__.startswith("empty")
        return op(*given, **(named or {}))


def test_a_save_after_the_first_takes_no_more_memory(tmp_path: Path, world: World) -> None:
    s = saver(tmp_path, world)
    counts = []
    for seen in (8, 16):
        with Allocations() as made:
            s.save(parts(float(seen)), about(seen))
        s.finish()
        counts.append(made.count)
    assert counts == [len(parts(0.0)), 0]
    assert saved(tmp_path) == {8: 8.0, 16: 16.0}


def test_one_after_the_other_if_that_is_wanted(tmp_path: Path, world: World) -> None:
    s = saver(tmp_path, world, asynchronous=False)
    s.save(parts(1.0), about(8))
    assert saved(tmp_path) == {8: 1.0}


def test_a_failure_is_raised_at_the_next_save_and_the_one_before_stays(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = saver(tmp_path, world)
    s.save(parts(1.0), about(8))
    s.finish()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensor_file, "write_tensors", full)
        s.save(parts(2.0), about(16))  # it does not know yet
        s.close()
        assert s.failed
        with pytest.raises(CheckpointError, match=r"No space.*goes on from .*seen-0000000008"):
            s.save(parts(3.0), about(24))
    assert saved(tmp_path) == {8: 1.0}
    assert not s.failed  # told once
    s.save(parts(4.0), about(32))
    s.finish()
    assert saved(tmp_path) == {8: 1.0, 32: 4.0}


def test_a_failure_of_the_last_save_is_raised_at_the_end(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = saver(tmp_path, world)
    monkeypatch.setattr(tensor_file, "write_tensors", lambda *_: 1 / 0)
    s.save(parts(1.0), about(8))
    with pytest.raises(CheckpointError, match="ZeroDivisionError"):
        s.finish()


def test_what_reads_back_differently_is_not_published(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that lies: one number changes between memory and file."""
    write = tensor_file.write_tensors

    def lying(file: Path, tensors: dict[str, Tensor]) -> None:
        changed = {name: t.clone() for name, t in tensors.items()}
        changed["w"][3] += 1
        write(file, changed)

    s = saver(tmp_path, world)
    monkeypatch.setattr(tensor_file, "write_tensors", lying)
    s.save(parts(1.0), about(8))
    with pytest.raises(CheckpointError, match="reads back differently"):
        s.finish()
    assert saved(tmp_path) == {}


def test_weights_that_are_not_finite_are_never_published(tmp_path: Path, world: World) -> None:
    s = saver(tmp_path, world)
    s.save(parts(float("nan")), about(8))
    with pytest.raises(DivergenceError, match="not finite after 8 images"):
        s.finish()
    assert saved(tmp_path) == {}


def test_an_orphan_hears_that_it_is_one(tmp_path: Path, world: World, gate: Gate) -> None:
    """The claim of another driver comes while this one is writing."""
    run = open_storage(tmp_path)
    fence = Fence.claim(run).group(1, stage=0)
    s = saver(tmp_path, world, fence)
    s.save(parts(1.0), about(8))
    assert gate.reached.wait(10)
    Fence.claim(run)
    gate.open.set()
    with pytest.raises(FencedError):
        s.finish()
    assert saved(tmp_path) == {}
