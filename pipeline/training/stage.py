"""Setting up a stage: everything that the loop calls, opened once and closed together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from pipeline.config import RunConfig, as_dict
from pipeline.data.loader.batch import on_device
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
from pipeline.storage import Storage
from pipeline.training.async_checkpoint import Saver
from pipeline.training.checkpoint_state import describe
from pipeline.training.critic import CriticWatch
from pipeline.training.fencing import Fence
from pipeline.training.logs import Log
from pipeline.training.metrics import Metrics
from pipeline.training.profiler import Profiler
from pipeline.training.progress import ProgressUpdate, announced
from pipeline.training.resume import start_of
from pipeline.training.state import TrainState
from pipeline.world import World
from stylealae.capabilities import Model, of_classes
from stylealae.errors import CheckpointError
from stylealae.families import FAMILIES
from stylealae.phase_inputs import InputSampler, PhaseInputs
from stylealae.phases import AnyPhase
from stylealae.schedule import Progress, at_stage

__all__ = ["Stage", "open_stage"]


@dataclass(frozen=True)
class Stage:
    """One stage under training, and the services of its loop."""

    cfg: RunConfig
    number: int
    end: int
    """Images seen when it is done."""
    data: str
    """Digest of the data set's manifest."""
    dataset: Dataset
    state: TrainState
    loader: Loader
    inputs: InputSampler[PhaseInputs]
    log: Log
    saver: Saver
    metrics: Metrics
    critic: CriticWatch
    originals: Tensor
    """Held-out images for the image grid [n, C, R, R] in [-1, 1]."""
    profiler: Profiler

    def at(self) -> Progress:
        """Where the run stands, which is in this stage.

        Raises:
            CheckpointError: it is not.
        """
        at = self.cfg.progress(self.state.seen)
        if at.stage != self.number:
            raise CheckpointError(
                f"after {self.state.seen:,} images the schedule is in stage {at.stage}, and stage "
                f"{self.number} is trained: its checkpoints are of another schedule"
            )
        return at

    def phases(self, seen: int, batch: int) -> tuple[AnyPhase, ...]:
        """The phases of the iteration that begins after `seen` images, in their order."""
        return FAMILIES[self.cfg.family].phases(self.cfg.loss, seen // batch)

    def draw(self, phase: str, at: Progress, classes: Tensor) -> PhaseInputs:
        """This rank's part of one phase's inputs; `classes` are those of its images [n]."""
        r = self.inputs.draw(phase, self.state.seen, at, classes)
        return self.critic.with_transforms(r, phase, self.state.seen, at)

    def shown(self) -> Model:
        """The averaged model as the image grid draws it, given classes where its G takes them."""
        n, label = self.cfg.log.grid_size, self.cfg.data.label
        return of_classes(self.state.model(), lambda: self.dataset.first_classes(n, label))

    def save(self) -> None:
        """Begins to save a checkpoint.  Collective."""
        self.log.require_finite(self.state.seen)
        state = self.state
        about = describe(self.cfg, self.number, state.seen, self.data, state.about())
        with state.gathered() as parts:
            self.saver.save(parts, about)  # copies; a thread publishes


@contextmanager
def open_stage(
    cfg: RunConfig,
    stage: int,
    world: World,
    storage: Storage,
    *,
    report: Callable[[ProgressUpdate], None],
    fence: Fence | None,
) -> Iterator[Stage]:
    """A stage from the newest checkpoint of its run, its loader begun.  Collective.

    The end of the block waits for a save under way, and gives everything back.

    Raises:
        UserError: the config, the data set or a checkpoint do not fit each other.
    """
    span, batch = cfg.span(stage), at_stage(cfg.schedule.batch, stage)
    cfg.require_shares(stage, world.size)
    dataset = readable_by(cfg, stage)
    digest = dataset.manifest.digest
    originals = on_device(dataset.first(cfg.log.grid_size), 1.0, world.device)
    loader = Loader(
        dataset, seed=cfg.seed, rank=world.rank, world=world.size, device=world.device,
        classes=getattr(cfg.model, "classes", 0) if cfg.loss.wants_labels else 0,
    )  # fmt: skip
    inputs = FAMILIES[cfg.family].sampler(
        cfg.model, cfg.loss, seed=cfg.seed, mine=world.share(batch), device=world.device,
        labelled=loader.labelled,
    )  # fmt: skip
    state = TrainState(cfg, stage, world, start_of(cfg, stage, storage, digest, world))
    log = Log(
        storage, cfg.log, world, seen=state.seen, span=span, total=cfg.span(cfg.last_stage)[1],
        report=report, fence=fence, scalars=state.engine.scalars, config=as_dict(cfg),
        then=announced(cfg.post_training(stage)),
    )  # fmt: skip
    opened = Stage(
        cfg=cfg,
        number=stage,
        end=span[1],
        data=digest,
        dataset=dataset,
        state=state,
        loader=loader,
        inputs=inputs,
        log=log,
        saver=Saver(storage, cfg.checkpoint, world, fence, log.note),
        metrics=Metrics(cfg.metrics, dataset, world, log, state.model, seed=cfg.seed),
        critic=CriticWatch(
            cfg.augment, state, world, dataset, inputs, log, every_img=cfg.log.scalars_img
        ),
        originals=originals,
        profiler=Profiler(cfg.engine.profile, log.run_dir / "profile", stage, world),
    )
    loader.start(state.seen, batch, span[1])
    try:
        world.any(False)  # rank 0 has opened the log alone, and no step's collective waits for that
        yield opened
    finally:
        for service in (opened.profiler, opened.saver, loader, log, state):
            service.close()


def readable_by(cfg: RunConfig, stage: int) -> Dataset:
    """The run's data set at a stage's resolution, if the networks can take its images."""
    return Dataset.open(cfg.data, 4 << stage, cfg.model.channels)
