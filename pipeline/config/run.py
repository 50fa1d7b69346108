"""A run is one typed value: method + data + engine + cluster, from defaults, YAML and overrides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config.bounds import require_finite
from pipeline.config.files import read, read_file, require_data
from pipeline.config.init import InitConfig
from pipeline.config.kinds import as_lists, require_kinds
from pipeline.config.messages import explained, first_lines
from pipeline.config.overrides import merged
from pipeline.config.packaged import located
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
    AugmentConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    ShapeConfig,
    TermsConfig,
)
from stylealae.errors import ConfigError, did_you_mean
from stylealae.families import sections
from stylealae.families.sections import Sections
from stylealae.schedule import Progress, at_stage, progress_at, stage_span

__all__ = [
    "RunConfig",
    "load",
    "parse",
]


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
        penalised = isinstance(self.loss, LossConfig) and self.model.plain_layers
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
        for name in ("prior_img", "recover_img"):
            count = getattr(self.loss, name, 0)
            if count and not isinstance(self.model, ModelConfig):
                raise ConfigError(
                    f"loss.{name} is {count}, and networks are fitted after training in StyleALAE "
                    f"alone, not in the family {self.family}: leave it out"
                )
        if self.engine.timeout_s <= self.data.patience_s:
            raise ConfigError(
                f"engine.timeout_s is {self.engine.timeout_s:g} and data.patience_s "
                f"{self.data.patience_s:g}: a worker that waits for its images would be given up "
                "by the others, so make engine.timeout_s the longer one"
            )
        if self.augment.mode != "none" and not isinstance(self.loss, LossConfig):
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
        if self.engine.precision != "fp16" or not isinstance(self.loss, LossConfig):
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


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Defaults, then the file, then `key=value` overrides; an unknown key is an error.

    `path` may be the name of a packaged config. A file may name another one beside it,
    `base: base.yaml`, which it goes on from.
    """
    path = located(path)
    if not path.exists():
        raise ConfigError(f"cannot read the config {path}: it does not exist{did_you_mean(path)}")
    given = read_file(path)
    files = [given]
    if "base" in given:
        below = path.parent / _below(path, given.pop("base"))
        if not below.exists():
            raise ConfigError(f"{path}: its base {below} does not exist{did_you_mean(below)}")
        files.insert(0, read_file(below))
        if "base" in files[0]:
            raise ConfigError(
                f"{path}: its base {below.name} has a base too, and one is all that is read: "
                "copy that one's lines into it"
            )
    return _parsed(files, overrides, str(path))


def parse(text: str, overrides: Sequence[str] = (), *, origin: str = "config") -> RunConfig:
    """As `load`, from YAML text.

    Values are data: what OmegaConf would look up, `${oc.env:HOME}` say, is refused.

    Raises:
        ConfigError: the YAML does not parse, or a key is unknown, mistyped or out of range.
    """
    return _parsed([read(text, origin)], overrides, origin)


def _parsed(files: Sequence[dict[str, Any]], overrides: Sequence[str], origin: str) -> RunConfig:
    """The config that some files say, the last one's word being the last, and overrides."""
    try:
        family = _sections(OmegaConf.merge(*files), overrides)._asdict()
        last = OmegaConf.to_container(merged(overrides, RunConfig, family))
        parts = [as_lists(part, RunConfig, family) for part in files]
        for part in (*parts, last):
            require_data(part, origin)
            require_kinds(part, origin, RunConfig, family)
        given = _with_from(OmegaConf.merge(*parts, last))
        config = OmegaConf.merge(_schema(_sections(given)), given)
        found = cast(RunConfig, OmegaConf.to_object(config))
        require_finite(found, origin)
        return found
    except RecursionError as error:
        raise ConfigError(f"{origin}: it is nested too deep for a config") from error
    except YAMLError as error:
        raise ConfigError(f"{origin}: {first_lines(error)}") from error
    except OmegaConfBaseException as error:
        message = explained(error, origin, overrides)
        if "$VALUE" in message:  # omegaconf names neither key nor value for an entry of a tuple
            message = f"{origin}: a value of the wrong type in {', '.join(_wrong(given))}"
        raise ConfigError(message) from error


def _with_from(given: Any) -> Any:
    """`init.from` by the name of its field, `from_`: Python keeps the word to itself."""
    init = given.get("init")
    if OmegaConf.is_dict(init) and "from" in init:
        init["from_"] = init.pop("from")
    return given


def _below(config: Path, base: object) -> str:
    """The name of a base, which lies in the config's folder or below it."""
    if not isinstance(base, str) or not base:
        raise ConfigError(f"{config}: its base is {base!r}: name a file, as in base: base.yaml")
    if Path(base).is_absolute() or ".." in Path(base).parts:
        raise ConfigError(
            f"{config}: its base is {base}, and a base lies in the folder of the config that names "
            "it or below: copy it there"
        )
    return base


@cache
def _schema(sections: Sections[ShapeConfig, TermsConfig]) -> Any:
    """The defaults of a family, typed: `model` and `loss` have the keys that it knows."""
    schema = OmegaConf.structured(RunConfig)
    OmegaConf.set_readonly(schema, False)  # it is, as RunConfig is frozen
    schema["model"], schema["loss"] = map(OmegaConf.structured, sections)
    return schema


def _sections(given: Any, overrides: Sequence[str] = ()) -> Sections[ShapeConfig, TermsConfig]:
    """The classes of `model` and `loss` of the family that is named last."""
    named = [o.partition("=")[2] for o in overrides if o.startswith("family=")]
    return sections(str([given.get("family", RunConfig.family), *named][-1]))


def _wrong(given: Any) -> Iterator[str]:
    """The keys whose value does not fit, found by trying each alone."""
    schema = _schema(_sections(given))
    for section, part in given.items():
        for key, value in part.items() if OmegaConf.is_dict(part) else ():
            try:
                OmegaConf.merge(schema, {section: {key: value}})
            except OmegaConfBaseException:
                yield f"{section}.{key}={value}"
