"""A run is one typed value: method + data + engine + cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.config.init import InitConfig
from pipeline.config.sections import (
    CheckpointConfig,
    ClusterConfig,
    DataConfig,
    EngineConfig,
    LogConfig,
    MetricConfig,
)
from pipeline.config.world_sizes import allowed, bounds
from stylealae.config import (
    AlaeLossConfig,
    AugmentConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    ShapeConfig,
    TermsConfig,
)
from stylealae.errors import ConfigError
from stylealae.schedule import Progress, at_stage, progress_at, stage_span

__all__ = ["RunConfig"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does."""

    family: str = "stylealae"
    """What is trained; it decides which keys `model` and `loss` have."""
    run_dir: str = "runs/default"
    """Folder or URL of the run, the same for all hosts: checkpoints, snapshots, logs, pictures."""
    seed: int = 0
    """Every draw is keyed by (seed, purpose, images seen)."""
    model: ShapeConfig = field(default_factory=ModelConfig)
    """Shape of the networks."""
    loss: TermsConfig = field(default_factory=LossConfig)
    """Weights of the losses."""
    init: InitConfig = field(default_factory=InitConfig)
    """Weights to begin with."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Few images."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """From gradients to steps."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Growth, batch and learning rate."""
    data: DataConfig = field(default_factory=DataConfig)
    """Images."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """Precision and ZeRO."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Saving."""
    log: LogConfig = field(default_factory=LogConfig)
    """Logging."""
    metrics: MetricConfig = field(default_factory=MetricConfig)
    """Measuring while training."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Workers."""

    def __post_init__(self) -> None:
        if not self.run_dir.strip():
            raise ConfigError("run_dir is empty: name a folder or a URL, as in run_dir=runs/mine")
        if self.loss.wants_labels and not self.data.label:
            raise ConfigError(
                f"the family {self.family} learns from labels and data.label is empty: name a "
                "label of the data set (`stylealae inspect` lists them), as in data.label=class"
            )
        penalised = isinstance(self.loss, AlaeLossConfig) and self.model.plain_layers
        if (self.loss.wants_whole_weights or penalised) and self.engine.zero_stage == 3:
            raise ConfigError(
                f"engine.zero_stage is 3 and the family {self.family} takes second derivatives by "
                "whole weights, which ZeRO 3 keeps in parts: use engine.zero_stage=2 or less"
            )
        widths = self.model.z_width, getattr(self.model, "w_width", self.model.z_width)
        if getattr(self.loss, "reciprocity_in", "w") == "z" and len({*widths}) > 1:
            raise ConfigError(
                f"loss.reciprocity_in is z, which E gives in the place of w, and model.z_width is "
                f"{widths[0]}, model.w_width {widths[1]}: make them equal"
            )
        if self.engine.timeout_s <= self.data.patience_s:
            raise ConfigError(
                f"engine.timeout_s is {self.engine.timeout_s:g} and data.patience_s "
                f"{self.data.patience_s:g}: a worker that waits for its images would be given up "
                "by the others, so make engine.timeout_s the longer one"
            )
        if self.augment.mode != "none" and not isinstance(self.loss, AlaeLossConfig):
            raise ConfigError(
                f"augment.mode is {self.augment.mode}, and the family {self.family} has no D∘E to "
                "show transformed images to: leave it out, or use stylealae or alae"
            )
        self._require_repeatable()
        self._require_scaled()
        self.init.require_stage(self.model.first_stage, self.last_stage)
        self._require_iterations()
        for stage in self.stages:
            most = bounds(at_stage(self.cluster.workers, stage))[1]
            self.require_shares(stage, (self.worker_counts(stage) or (most,))[-1])

    def require_shares(self, stage: int, ranks: int) -> None:
        """Refuses ranks that cannot share a stage's batch evenly, or that see too little of it."""
        batch = at_stage(self.schedule.batch, stage)
        micro_batch, share = at_stage(self.engine.micro_batch, stage), batch // ranks
        if batch % ranks:
            raise ConfigError(
                f"stage {stage} has a batch of {batch} images, which {ranks} ranks cannot share "
                f"evenly: make schedule.batch[{stage}] a multiple of {ranks}, or change "
                "cluster.workers"
            )
        if micro_batch and share > micro_batch and share % micro_batch:
            raise ConfigError(
                f"stage {stage} gives each of {ranks} ranks {share} images, which is no multiple "
                f"of engine.micro_batch {micro_batch}: change one of them"
            )
        what = self.loss.comparison or self.model.comparison
        if what and min(share, micro_batch or share) == 1:
            raise ConfigError(
                f"{what} compares the images of a worker among themselves, and in stage {stage} a "
                "worker has one at a time: use fewer workers, a larger engine.micro_batch or a "
                "larger schedule.batch"
            )

    def _require_repeatable(self) -> None:
        """Refuses what GPUs have no deterministic algorithm for."""
        warps = self.augment.warps
        if warps and self.engine.deterministic and self.cluster.gpus_per_worker:
            raise ConfigError(
                f"engine.deterministic is true and augment.kinds has {' and '.join(warps)}, for "
                "whose gradients GPUs have no algorithm that gives the same bits every time: set "
                "engine.deterministic=false, or name other augment.kinds"
            )

    def _require_scaled(self) -> None:
        """Refuses float16 where a loss takes a gradient itself, which no loss scale reaches."""
        if self.engine.precision != "fp16" or not isinstance(self.loss, AlaeLossConfig):
            return
        for name in ("merged", "likeness_features"):
            if value := getattr(self.loss, name):
                raise ConfigError(
                    f"engine.precision is fp16 and loss.{name} is {str(value).lower()}: it takes a "
                    "gradient inside the loss, where no loss scale keeps that from vanishing in "
                    "float16. Use engine.precision=bf16 or fp32, or leave "
                    f"loss.{name} out"
                )

    def _require_iterations(self) -> None:
        """Refuses a stage of which the last batch of the one before leaves no image."""
        for stage in self.stages:
            (first, end), seen = self.span(stage), self.reached(stage - 1)
            if seen >= end:
                raise ConfigError(
                    f"stage {stage} is to be shown images {first:,} to {end:,}, and the batches of "
                    f"the stage before reach to {seen:,}: nothing is left to train it with. Make "
                    "schedule.stage_img larger, or schedule.batch smaller"
                )

    def worker_counts(self, stage: int) -> tuple[int, ...]:
        """The numbers of workers that a stage may have, the least first, the wanted one last."""
        return allowed(
            at_stage(self.cluster.workers, stage),
            batch=at_stage(self.schedule.batch, stage),
            micro_batch=at_stage(self.engine.micro_batch, stage),
        )

    @property
    def stages(self) -> range:
        """The stages of the run in their order; the one stage of networks that do not grow."""
        return range(self.first_stage, self.last_stage + 1)

    @property
    def first_stage(self) -> int:
        """The stage that the run begins with: with weights of others, the one that they are of."""
        return max(self.model.first_stage, self.init.stage)

    @property
    def last_stage(self) -> int:
        """The stage of the full resolution."""
        return self.model.last_stage

    def span(self, stage: int) -> tuple[int, int]:
        """First image of a stage and the first after it."""
        return stage_span(stage, self.last_stage, self.schedule, self.first_stage)

    def reached(self, stage: int) -> int:
        """Images seen when a stage has ended: its last batch may go beyond its span."""
        seen = 0
        for earlier in range(self.first_stage, stage + 1):
            left, batch = self.span(earlier)[1] - seen, at_stage(self.schedule.batch, earlier)
            seen += max(0, -(-left // batch)) * batch
        return seen

    def post_training(self, stage: int) -> Mapping[str, int]:
        """Images on which networks are fitted when a stage has ended, by their letters."""
        return self.loss.post_training if stage == self.last_stage else {}

    def progress(self, seen: int) -> Progress:
        """Where the run stands once `seen` real images have been shown."""
        alpha = 1.0 if self.init.alpha < 0.0 else self.init.alpha
        at = progress_at(seen, self.last_stage, self.schedule, self.first_stage, alpha)
        lr = at.lr * self.init.warmth(seen + at.batch)
        return replace(at, lr=lr, frozen=seen < self.init.freeze_img)
