"""What a run goes on from, listed once: networks, their averages, the optimizer, images seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict, cast

from torch import Tensor

from pipeline.config import RunConfig
from pipeline.training.checkpoints import Checkpoint, Handover, Parts
from pipeline.training.engine import Engine
from pipeline.world import World
from stylealae.capabilities import Model
from stylealae.ema import Ema
from stylealae.families import FAMILIES
from stylealae.schedule import Progress

__all__ = ["StateNotes", "TrainState"]


class StateNotes(TypedDict, total=False):
    """What a checkpoint says of the state beside its tensors."""

    origin: str
    augment_p: float


class TrainState:
    """Everything that a checkpoint holds of a run.  Every public method is collective."""

    def __init__(
        self,
        cfg: RunConfig,
        stage: int,
        world: World,
        found: Checkpoint | Handover | None = None,
    ) -> None:
        """The state at the beginning of a run, or as a checkpoint holds it, on `world.device`.

        A checkpoint of the stage before hands over weights, averages and images seen; the stage
        starts with a fresh optimizer.
        """
        self._family, self._model, self._stage = FAMILIES[cfg.family], cfg.model, stage
        self.seen = 0 if found is None else int(found.state["seen"])
        """Real images shown so far."""
        self.origin = "" if found is None else str(found.state.get("origin", ""))
        """The weights that the run began with, and their hash; empty if they were drawn."""
        self.augment_p = cfg.augment.p
        """Probability of each kind of transform that D∘E is shown."""
        if found is not None and cfg.augment.mode == "adaptive":
            notes = cast(StateNotes, found.state)
            self.augment_p = float(notes.get("augment_p", cfg.augment.p))
        self.nets = self._family.build(cfg.model, cfg.seed)
        self.ema = Ema(self.nets, cfg.schedule)
        if found is not None:  # before the engine makes its copies
            self.nets.load_state_dict(found.tensors("networks"))
            self.ema.load_state_dict(found.tensors("ema"))
        self.nets.to(world.device)
        self.ema.to(world.device)
        # A stage that was killed between its last checkpoint and its snapshot is still this stage.
        at = cfg.progress(min(self.seen, cfg.span(stage)[1] - 1))
        self.engine = Engine(self.nets, at, cfg, world)
        if isinstance(found, Checkpoint) and found.state["stage"] == stage:
            self.engine.load_state_dict(found.tensors("adam"))

    def about(self) -> StateNotes:
        """What a checkpoint says of the state beside its tensors."""
        return {"origin": self.origin, "augment_p": self.augment_p}

    @contextmanager
    def gathered(self) -> Iterator[Parts]:
        """What a checkpoint holds, whole inside the block; `adam` is on rank 0 alone."""
        adam = self.engine.state_dict()
        with self.engine.gathered():
            yield {
                "networks": self.nets.state_dict(),
                "ema": self.ema.state_dict(),
                "adam": adam,
            }

    def advance(self, z: Tensor, at: Progress) -> None:
        """Counts an iteration: the averages follow the networks; z is [N, Z]."""
        with self.engine.gathered():
            self.ema.update(self.nets, z, at)
        self.seen += at.batch

    def model(self) -> Model:
        """The averages as a trained model."""
        return self._family.model(
            self.ema.nets, self.ema.means, self._model, stage=self._stage, seen=self.seen
        )

    def close(self) -> None:
        """Gives the engine's buffers back."""
        self.engine.close()
