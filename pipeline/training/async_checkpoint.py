"""Saving while training goes on: a step waits for a copy of the state, a thread does the rest.

    saver = Saver(run_dir, cfg.checkpoint, world, fence, note=log.note)
    saver.save(parts, about)       waits for the save before, copies, and returns
    saver.finish()                 waits until all is published; raises what went wrong

The thread of rank 0 verifies, hashes, writes, publishes and prunes.  Never more than one save is
under way, into the same buffers, so memory is bounded.  What goes wrong in it is raised on every
rank at the next save or at `finish`, whichever comes first, and `failed` tells rank 0 that there is
no use in training on until then: the run stops with the reason, and the checkpoints before are
untouched.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from pipeline.config.sections import CheckpointConfig
from pipeline.storage import Storage
from pipeline.training import checkpoints, snapshots
from pipeline.training.checkpoint_state import CheckpointState
from pipeline.training.checkpoints import Parts
from pipeline.training.fencing import Fence
from pipeline.training.run_files import LOGS
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.errors import CheckpointError, DivergenceError, UserError

__all__ = ["Saver"]


class Saver:
    """Saves the checkpoints of one stage.  `save` and `finish` are collective."""

    def __init__(
        self,
        storage: Storage,
        cfg: CheckpointConfig,
        world: World,
        fence: Fence | None = None,
        note: Callable[[str, float], None] = lambda tag, value: None,
    ) -> None:
        """Nothing is written yet.

        Args:
            storage: where the run lies.
            cfg: how many are kept, and whether saving is asynchronous.
            world: the ranks.
            fence: the right to write, on rank 0; without one nobody else may be writing.
            note: hears what saving took, in seconds.
        """
        self._storage, self._cfg, self._world, self._fence = storage, cfg, world, fence
        self._note = note
        self._thread: threading.Thread | None = None
        self._problem: Exception | None = None
        self._buffers: dict[str, dict[str, Tensor]] = {}
        self._mirrored: dict[str, tuple[int, int]] = {}

    def save(self, parts: Parts, about: CheckpointState) -> None:
        """Begins to save what the parts hold now; they may change when this returns."""
        since = time.monotonic()
        self._settle()
        if self._world.rank == 0:
            held = self._copied(parts)
            self._thread = threading.Thread(target=self._publish, args=(held, about.copy()))
            self._thread.start()
        if not self._cfg.asynchronous:
            self._settle()
        self._note("time/checkpoint_s", time.monotonic() - since)

    @property
    def busy(self) -> bool:
        """Whether a save is under way on this rank."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether the last save has come to nothing, on this rank: the next call will say why."""
        return self._problem is not None

    def finish(self) -> None:
        """Returns when the last save is published."""
        self._settle()
        self._do(self._mirror)

    def finish_stage(
        self, stage: int, finished: Callable[[], tuple[Model, str]], origin: str
    ) -> None:
        """Leaves the stage's snapshot, and in it the mark that the stage is done.  Collective.

        `finished` makes the model that it holds, on rank 0, and says what was done to it.
        """

        def leave() -> None:
            model, done = finished()
            snapshots.finish_stage(self._storage, stage, model, self._fence, origin, done)

        self._do(leave)
        self._do(self._mirror)

    def close(self) -> None:
        """Waits for the thread, whatever became of the run."""
        if self._thread is not None:
            self._thread.join()

    def _do(self, work: Callable[[], None]) -> None:
        """Something that rank 0 does while the others wait; every rank raises if it failed."""
        if self._world.rank == 0:
            try:
                work()
            except Exception as error:  # the others must hear of it, whatever it is
                self._problem = error
        self._settle()

    def _mirror(self) -> None:
        """Brings logs that lie on this host, and have changed, to where the run lies."""
        if not self._storage.remote:
            return
        first = not self._mirrored
        for top in LOGS:
            path, there = self._storage.working / top, dict[str, int]()
            if first and path.is_dir():  # of the stages before: files that were made once
                with suppress(FileNotFoundError):
                    there = dict(self._storage.sizes(top))
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                name = file.relative_to(self._storage.working).as_posix()
                changed = file.stat().st_mtime_ns, file.stat().st_size
                if file.is_file() and self._mirrored.get(name) != changed:
                    if there.get(name) != changed[1]:
                        self._storage.send(file, name)
                    self._mirrored[name] = changed

    def _settle(self) -> None:
        """Waits for the save under way, if any; every rank raises if it failed."""
        self.close()
        self._thread = None
        problem, self._problem = self._problem, None
        diverged = self._world.any(isinstance(problem, DivergenceError))
        if not self._world.any(problem is not None):
            return
        if isinstance(problem, UserError):
            raise problem
        if diverged:
            raise DivergenceError("the weights are not finite: see rank 0")
        raise CheckpointError(f"saving failed: {problem or 'see rank 0'}") from problem

    def _copied(self, parts: Parts) -> Parts:
        """The parts in buffers of this object, which are allocated once."""
        for part, tensors in parts.items():
            buffers = self._buffers.setdefault(part, {})
            for gone in buffers.keys() - tensors.keys():
                del buffers[gone]
            for name, tensor in tensors.items():
                held = buffers.get(name)
                if held is None or held.shape != tensor.shape or held.dtype != tensor.dtype:
                    held = buffers[name] = torch.empty(
                        tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda
                    )
                held.copy_(tensor.detach(), non_blocking=True)
        if self._world.device.type == "cuda":
            torch.cuda.synchronize()
        return self._buffers

    def _publish(self, parts: Parts, about: CheckpointState) -> None:
        since = time.monotonic()
        try:
            checkpoints.save(self._storage, parts, about, self._fence)
            checkpoints.prune(
                self._storage, about["stage"], about["seen"], self._cfg.keep, self._fence
            )
            self._mirror()
        except Exception as error:  # it is raised where all ranks are, at the next save
            self._problem = error
        self._note("time/publish_s", time.monotonic() - since)
