"""`train_stage` itself, on tensors without content: a few iterations in the middle of a stage.

In the places of what needs content or another library stand: the engine (engine.py), the loader
(images made up, handed over by the real copy), and the saver (it takes its copies, and writes
nothing).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.data.loader.batch import Batch, DeviceCopy
from pipeline.storage import open_storage
from pipeline.training.async_checkpoint import Saver
from pipeline.training.checkpoints import Handover
from pipeline.training.trainer import train_stage
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.families import FAMILIES
from stylealae.schedule import at_stage
from tests.fakegpu.contents import without_content
from tests.fakegpu.counter import Count, Counter
from tests.fakegpu.engine import Engine
from tests.fakegpu.pictures import Pictures

__all__ = ["handed_over", "iterated", "world_of"]

KNOWN_IMG = 8
"""Labelled images of a data set."""


class Alike(World):
    """Ranks that all have the same numbers: what they agree on is this rank's."""

    def mean(self, values: list[float]) -> list[float]:
        """The mean of every number over the ranks."""
        return values

    def first(self, values: Sequence[float]) -> list[float]:
        """Rank 0's numbers."""
        return list(values)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        return tensor.mul_(self.size)


def world_of(rank: int = 0, size: int = 1) -> World:
    """A rank on the GPU of its number, which is made this thread's."""
    torch.cuda.set_device(rank)
    return Alike(rank, size, torch.device("cuda", rank))


def iterated(
    cfg: RunConfig,
    stage: int,
    folder: Path,
    *,
    fading: bool,
    iterations: int = 1,
    world: World | None = None,
    memory: bool = False,
) -> Count:
    """What the last of some iterations takes, each a turn of `train_stage`'s loop."""
    seen, turns = _middle(cfg, stage, fading), _Turns(iterations, memory)
    cfg = replace(cfg, run_dir=str(folder), metrics=replace(cfg.metrics, cache=str(folder)))
    with _without_content(cfg, seen, turns):
        train_stage(cfg, stage, world or world_of(), open_storage(folder), stop=turns.end)
    return turns.count


def handed_over(world: World) -> None:
    """Images handed to a rank's GPU by a thread of their own, as the loader does."""

    def read() -> None:
        with without_content():
            DeviceCopy(world.device)(_batch(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)))

    with ThreadPoolExecutor(1) as reader:
        reader.submit(read).result()


def _middle(cfg: RunConfig, stage: int, fading: bool) -> int:
    """Images seen where the newest block has faded in by half, or wholly."""
    first, _ = cfg.span(stage)
    fade_img = cfg.schedule.fade_fraction * at_stage(cfg.schedule.stage_img, stage)
    return first + int(fade_img / 2 if fading else fade_img)


class _Turns:
    """Ends the loop after some turns, and counts the last one."""

    def __init__(self, turns: int, memory: bool) -> None:
        self._left, self._memory = turns, memory
        self._counter: Counter | None = None
        self.count = Count()

    def begin(self) -> None:
        """A turn begins."""
        if self._left == 1:
            self._counter = Counter(memory=self._memory)
            self._counter.__enter__()

    def end(self) -> bool:
        """A turn has ended; whether it was the last."""
        self._left -= 1
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self.count, self._counter = self._counter.count, None
        return self._left == 0


class _Images:
    """A loader of images that nobody has drawn."""

    def __init__(self, cfg: RunConfig, turns: _Turns, world: World, images: Pictures) -> None:
        self._images, self._turns, self._share = images, turns, 0
        self._has_labels = bool(cfg.data.label)
        self._world, self._copy = world, DeviceCopy(world.device)
        self.waited_s, self.replaced = 0.0, 0
        known = KNOWN_IMG if cfg.data.labelled_img else 0
        self.labelled = images.first(known), torch.zeros(known, dtype=torch.int64)

    def start(self, seen: int, batch: int, stop_at: int) -> None:
        """Nothing is read ahead."""
        self._share = batch // self._world.size

    def next(self) -> Batch:
        """This rank's images, which begin a turn."""
        labels = torch.zeros(self._share) if self._has_labels else None
        batch = self._copy(_batch(self._images.first(self._share), labels))
        self._turns.begin()
        return batch

    def close(self) -> None:
        """Nothing is open."""


class _Copies(Saver):
    """Takes its copies, and writes nothing."""

    def _publish(self, parts: Any, about: Mapping[str, Any]) -> None:
        return

    def finish_stage(self, stage: int, model: Model, origin: str) -> None:
        """The stage is not ended here."""
        raise AssertionError("a turn or two end no stage")


def _batch(x: Tensor, labels: Tensor | None = None) -> Batch:
    """Images of the host as a batch."""
    return Batch(x, torch.zeros(len(x), dtype=torch.bool), torch.arange(len(x)), labels)


def _middle_state(cfg: RunConfig, stage: int, seen: int) -> Handover:
    """What the stage is taken up from: fresh networks after `seen` images."""
    nets = FAMILIES[cfg.family].build(cfg.model, cfg.seed)
    state = {"stage": stage - 1, "seen": seen}
    networks = nets.state_dict()
    return Handover(state, "", {"networks": networks, "ema": {**networks, **nets.means()}})


@contextmanager
def _without_content(cfg: RunConfig, seen: int, turns: _Turns) -> Iterator[None]:
    """The trainer with the stand-ins in place, beginning after `seen` images."""

    def loader(
        dataset: Pictures, *, seed: int, rank: int, world: int, device: torch.device, classes: int
    ) -> _Images:
        return _Images(cfg, turns, World(rank, world, device), dataset)

    stand_ins: dict[str, Callable[..., Any]] = {
        "Saver": _Copies,
        "Loader": loader,
        "start_of": lambda cfg, stage, *_: _middle_state(cfg, stage, seen),
        "readable_by": lambda cfg, stage: Pictures(cfg.model, 4 << stage),
    }
    with (
        mock.patch("pipeline.training.trainer.STOP_POLL_IMG", 1),
        mock.patch("pipeline.training.state.Engine", Engine),
        mock.patch.multiple("pipeline.training.stage", **stand_ins),
        mock.patch("pipeline.evaluation.feature_statistics.write_tensors"),
    ):
        yield
