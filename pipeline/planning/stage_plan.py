"""The stages of a run as plain values: what memory, time and cost are counted from."""

from dataclasses import dataclass

from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from stylealae.config import ShapeConfig, TermsConfig
from stylealae.schedule import at_stage

__all__ = ["StagePlan", "stage_plan", "stage_plans"]


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage: what is trained, on how many images, by how many workers."""

    family: str
    model: ShapeConfig
    loss: TermsConfig
    engine: EngineConfig
    stage: int
    images: int
    """Real images shown in this stage."""
    fading_img: int
    """Images while the newest block fades in."""
    batch: int
    """Images of all workers in an iteration."""
    lr: float
    worker_counts: tuple[int, ...]
    """The numbers of workers that it may have, the least first, the wanted one last."""

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return 4 << self.stage

    @property
    def workers(self) -> int:
        """The wanted number of workers."""
        return self.worker_counts[-1]

    def share(self, workers: int) -> int:
        """Images of the batch that each of so many workers takes."""
        return self.batch // workers

    def micro_batch(self, workers: int) -> int:
        """Images that each of so many workers holds at once."""
        share = self.share(workers)
        return min(at_stage(self.engine.micro_batch, self.stage) or share, share)


def stage_plans(cfg: RunConfig) -> tuple[StagePlan, ...]:
    """The stages of a run in their order."""
    return tuple(stage_plan(cfg, stage) for stage in cfg.stages)


def stage_plan(cfg: RunConfig, stage: int) -> StagePlan:
    """One stage of a run."""
    first, end = cfg.span(stage)
    grown = stage == cfg.first_stage and not 0.0 <= cfg.init.alpha < 1.0
    fades = 0.0 if grown else cfg.schedule.fade_fraction
    return StagePlan(
        family=cfg.family, model=cfg.model, loss=cfg.loss, engine=cfg.engine,
        stage=stage, images=end - first,
        fading_img=int(fades * at_stage(cfg.schedule.stage_img, stage)),
        batch=at_stage(cfg.schedule.batch, stage), lr=at_stage(cfg.schedule.lr, stage),
        worker_counts=cfg.worker_counts(stage),
    )  # fmt: skip
