"""A run is one typed value: method + data + engine + cluster, from defaults, YAML and overrides."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.workers import allowed, bounds
from stylealae.config import (
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    ShapeConfig,
    TermsConfig,
)
from stylealae.config_mlp import SECTIONS
from stylealae.errors import ConfigError
from stylealae.schedule import Progress, at_stage, progress_at, stage_span

__all__ = [
    "CheckpointConfig",
    "ClusterConfig",
    "DataConfig",
    "EngineConfig",
    "LogConfig",
    "MetricConfig",
    "RunConfig",
    "as_yaml",
    "load",
    "parse",
]

BASE = re.compile(r"^base: *(\S+) *$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images a run is shown, and how they reach the trainer."""

    path: str = "datasets/rendered"
    """Folder or URL of a prepared shard set (`stylealae prepare`): it holds manifest.json."""
    split: str = "train"
    """Split of the manifest to train on."""
    label: str = ""
    """Label that comes with every batch, a number an image; empty is none."""
    labelled_img: int = 0
    """Images whose label counts: the first of every class, as many of each; 0 is all of them."""
    classes: int = 10
    """How many classes the label has; `labelled_img` is shared among them."""
    validation_img: int = 0
    """Images cut from the end of the split: what is tuned is tuned on them, never on the tests."""
    flip: bool = True
    """Mirror half of the images, keyed by sample and epoch."""
    shuffle_img: int = 16_384
    """Images of consecutive (permuted) shards that are shuffled together."""
    ram_gib: float = 2.0
    """Each worker holds a resolution in memory when it takes no more; else it is memory-mapped."""
    prefetch: int = 4
    """Batches read ahead by the reader's thread."""
    decoders: int = 4
    """Threads of a worker that decode images of 512x512 and more."""
    max_broken: int = 0
    """Images with a wrong hash or an undecodable file after which the run stops."""
    cache: str = "~/.cache/stylealae"
    """Folder on a local disk for what comes from an object store; workers of a host share it."""
    cache_gib: float = 50.0
    """Most that the cache holds; what was unused for the longest time goes first."""
    patience_s: float = 300.0
    """An object store may fail for so long before the run stops."""

    def __post_init__(self) -> None:
        if min(self.prefetch, self.decoders) < 1:
            raise ConfigError(
                f"data.prefetch is {self.prefetch} and data.decoders {self.decoders}: both must be "
                "at least 1"
            )
        if min(self.labelled_img, self.validation_img) < 0:
            raise ConfigError(
                f"data.labelled_img is {self.labelled_img} and data.validation_img "
                f"{self.validation_img}: neither can be negative"
            )
        if self.labelled_img and not self.label:
            raise ConfigError(
                f"data.labelled_img is {self.labelled_img} and data.label is empty: name the label"
            )
        if self.classes < 1 or self.labelled_img % self.classes:
            raise ConfigError(
                f"data.labelled_img is {self.labelled_img}, which {self.classes} classes cannot "
                "share evenly: make it a multiple of data.classes"
            )


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How a step is computed."""

    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Autocast of the forward pass; weights, Adam and the R1 branch stay float32."""
    zero_stage: int = 1
    """DeepSpeed ZeRO: 0 replicates, 1 shards Adam, 2 also gradients, 3 also weights."""
    micro_batch: tuple[int, ...] = (0,)
    """Images a worker holds at once, one entry a stage (a shorter list goes on with its last
    entry); the rest is accumulated.  0 is a worker's whole share of the batch."""
    recompute_from: int = 0
    """Blocks of this resolution and above compute their activations again in the backward pass
    instead of keeping them: less memory, about a third more time there.  0: none do."""
    offload: bool = False
    """Adam's moments and its step live in the host's memory (ZeRO 1 and above)."""
    threads: int = 0
    """CPU threads a worker computes with; 0 shares the machine's cores among its workers."""

    def __post_init__(self) -> None:
        if self.zero_stage not in (0, 1, 2, 3):
            raise ConfigError(f"engine.zero_stage is {self.zero_stage}: use 0, 1, 2 or 3")
        if not self.micro_batch or min(self.micro_batch) < 0:
            raise ConfigError(
                f"engine.micro_batch is {list(self.micro_batch)}: give a stage 0 or a positive "
                "number"
            )
        if self.recompute_from < 0:
            raise ConfigError(
                f"engine.recompute_from is {self.recompute_from}: use 0 (none) or a resolution"
            )
        if self.threads < 0:
            raise ConfigError(f"engine.threads is {self.threads}: use 0 (shared) or a number")
        if self.offload and not self.zero_stage:
            raise ConfigError(
                "engine.offload needs engine.zero_stage 1 or above: ZeRO 0 keeps Adam whole"
            )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the whole state is saved, and how much of it is kept."""

    every_img: int = 100_000
    """Images between two checkpoints; the end of every stage is saved too."""
    keep: int = 2
    """Checkpoints kept of the stage at work; of an ended stage the last is kept."""
    asynchronous: bool = True
    """Training goes on while a thread writes what was copied; false waits for the writing too."""
    patience_s: float = 300.0
    """A run_dir in an object store may fail for so long before the run stops."""

    def __post_init__(self) -> None:
        if self.every_img < 1 or self.keep < 1:
            raise ConfigError(
                f"checkpoint.every_img is {self.every_img} and checkpoint.keep {self.keep}: "
                "both must be at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is written while training."""

    scalars_img: int = 10_000
    """Images between two rows of losses and timings."""
    grid_img: int = 100_000
    """Images between two pictures of reconstructions and samples."""
    grid_size: int = 16
    """Originals, and as many samples, in the picture."""
    batches: str = ""
    """Local folder where each worker writes which images it was shown, for audits; empty: none."""

    def __post_init__(self) -> None:
        if min(self.scalars_img, self.grid_img, self.grid_size) < 1:
            raise ConfigError("log.scalars_img, log.grid_img and log.grid_size must be at least 1")


@dataclass(frozen=True, kw_only=True)
class MetricConfig:
    """What is measured while training; docs/metrics.md lists the names."""

    every_img: int = 0
    """Images between two measurements, and at the end of every stage; 0 measures nothing."""
    names: tuple[str, ...] = ("fid-random", "kid-random", "psnr", "reciprocity")
    """Metrics; these need no file."""
    samples: int = 10_000
    """Images that are generated, and at most so many real ones."""
    batch: int = 32
    """Images that a worker takes through a network at once."""
    features: tuple[str, ...] = ()
    """Files of feature extractors, such as inception-2015-12-05.pt, on every host."""
    labels: tuple[str, ...] = ()
    """Labels of the data set that separability looks at."""
    cache: str = "~/.cache/stylealae/metrics"
    """Folder for statistics of real images."""

    def __post_init__(self) -> None:
        if self.every_img < 0 or self.samples < 2 or self.batch < 1:
            raise ConfigError(
                f"metrics.every_img is {self.every_img}, metrics.samples {self.samples} and "
                f"metrics.batch {self.batch}: use at least 0, 2 and 1"
            )


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What a run asks Ray for."""

    workers: tuple[int | str, ...] = (1,)
    """Trainer processes, one entry a stage; a shorter list goes on with its last entry.  2..8 goes
    on with as few as 2 when workers are lost, and grows again: with what divides the batch."""
    gpus_per_worker: int = 1
    """1 trains on GPUs, 0 on CPUs."""
    cpus_per_worker: float = 4.0
    """Cores that Ray sets aside for a worker and its reader."""
    max_failures: int = 10
    """Lost workers after which a stage gives up that has made no new checkpoint meanwhile."""
    settle_s: float = 10.0
    """Lost workers are waited for so long before a stage goes on with fewer, and room for more must
    last so long before it stops to grow."""
    patience_s: float = 1800.0
    """A cluster may lack room for the fewest workers for so long before the run gives up."""

    def __post_init__(self) -> None:
        if not self.workers:
            raise ConfigError("cluster.workers is []: give at least one number")
        for entry in self.workers:
            bounds(entry)
        if min(self.max_failures, self.settle_s, self.patience_s) < 0:
            raise ConfigError(
                f"cluster.max_failures is {self.max_failures}, cluster.settle_s {self.settle_s:g} "
                f"and cluster.patience_s {self.patience_s:g}: none may be negative"
            )
        if self.gpus_per_worker not in (0, 1):
            raise ConfigError(
                f"cluster.gpus_per_worker is {self.gpus_per_worker}: a worker drives one GPU (1) "
                "or none (0); for more GPUs raise cluster.workers"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does."""

    family: Literal[
        "stylealae", "alae", "autoencoder", "aae", "aae_informed", "aae_supervised", "aae_classes",
        "aae_heads", "vae", "gan",
    ] = "stylealae"  # fmt: skip
    """What is trained; it decides which keys `model` and `loss` have."""
    run_dir: str = "runs/default"
    """Folder or URL of the run, the same for all hosts: checkpoints, snapshots, logs, pictures."""
    seed: int = 0
    """Every draw is keyed by (seed, purpose, images seen)."""
    model: ShapeConfig = field(default_factory=ModelConfig)
    """Shape of the networks."""
    loss: TermsConfig = field(default_factory=LossConfig)
    """Weights of the losses."""
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
        if self.loss.wants_labels and not self.data.label:
            raise ConfigError(
                f"the family {self.family} learns from labels and data.label is empty: name a "
                "label of the data set (`stylealae inspect` lists them), as in data.label=class"
            )
        for stage in self.stages:
            if not self.worker_counts(stage):
                check_shares(
                    stage,
                    batch=at_stage(self.schedule.batch, stage),
                    ranks=bounds(at_stage(self.cluster.workers, stage))[1],
                    micro_batch=at_stage(self.engine.micro_batch, stage),
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
        return range(self.model.first_stage, self.model.last_stage + 1)

    @property
    def last_stage(self) -> int:
        """The stage of the full resolution."""
        return self.model.last_stage

    def span(self, stage: int) -> tuple[int, int]:
        """First image of a stage and the first after it."""
        return stage_span(stage, self.last_stage, self.schedule, self.model.first_stage)

    def progress(self, seen: int) -> Progress:
        """Where the run stands once `seen` real images have been shown."""
        return progress_at(seen, self.last_stage, self.schedule, self.model.first_stage)


def check_shares(stage: int, *, batch: int, ranks: int, micro_batch: int) -> None:
    """Refuses a global batch that the ranks cannot share evenly."""
    if batch % ranks:
        raise ConfigError(
            f"stage {stage} has a batch of {batch} images, which {ranks} ranks cannot share "
            f"evenly: make schedule.batch[{stage}] a multiple of {ranks}, or change cluster.workers"
        )
    share = batch // ranks
    if micro_batch and share > micro_batch and share % micro_batch:
        raise ConfigError(
            f"stage {stage} gives each of {ranks} ranks {share} images, which is no multiple of "
            f"engine.micro_batch {micro_batch}: change one of them"
        )


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Defaults, then the file, then `key=value` overrides; an unknown key is an error.

    A file may name another one beside it, `base: base.yaml`, which it goes on from.
    """
    try:
        text = path.read_text()
        named = BASE.search(text)
        base = (path.parent / named.group(1)).read_text() if named else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config {path}: {error}") from error
    return parse(BASE.sub("", text), overrides, origin=str(path), base=base)


def parse(
    text: str, overrides: Sequence[str] = (), *, origin: str = "config", base: str = ""
) -> RunConfig:
    """As `load`, from YAML text, and that of a base.

    Raises:
        ConfigError: the YAML does not parse, or a key is unknown, mistyped or out of range.
    """
    for override in overrides:
        if "=" not in override:
            raise ConfigError(
                f"{override!r} is no override: write key=value, as in schedule.lr=[0.002]"
            )
    try:
        yaml = OmegaConf.create(text or "{}")
        if not OmegaConf.is_dict(yaml):
            raise ConfigError(f"{origin}: found a list, a config is made of lines `key: value`")
        last = OmegaConf.from_dotlist(list(overrides))
        given: Any = OmegaConf.merge(OmegaConf.create(base or "{}"), yaml, last)
        config = OmegaConf.merge(_schema(str(given.get("family", "stylealae"))), given)
        return cast(RunConfig, OmegaConf.to_object(config))
    except YAMLError as error:
        raise ConfigError(f"{origin}: {_first_lines(error)}") from error
    except OmegaConfBaseException as error:
        told = _first_lines(error)
        if "$VALUE" in told:  # omegaconf names neither key nor value for an entry of a tuple
            told = f"a value of the wrong type in {', '.join(_wrong(given))}"
        raise ConfigError(f"{origin}: {told}") from error


def as_yaml(cfg: RunConfig) -> str:
    """The resolved config as YAML that `parse` turns back into the same value."""
    return OmegaConf.to_yaml(OmegaConf.structured(cfg))


def as_dict(cfg: RunConfig) -> dict[str, Any]:
    """The resolved config as plain dicts and lists."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(cfg)))


def _schema(family: str) -> Any:
    """The defaults of a family, typed: `model` and `loss` have the keys that it knows."""
    model, loss = SECTIONS.get(family, SECTIONS["stylealae"])  # the merge refuses another one
    sections = OmegaConf.structured(RunConfig)
    OmegaConf.set_readonly(sections, False)  # it is, as RunConfig is frozen
    sections.model, sections.loss = OmegaConf.structured(model), OmegaConf.structured(loss)
    return sections


def _wrong(given: Any) -> Iterator[str]:
    """The keys whose value does not fit, found by trying each alone."""
    schema = _schema(str(given.get("family", "stylealae")))
    for section, part in given.items():
        for key, value in part.items() if OmegaConf.is_dict(part) else ():
            try:
                OmegaConf.merge(schema, {section: {key: value}})
            except OmegaConfBaseException:
                yield f"{section}.{key}={value}"


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(
        line
        for line in lines
        if line and "object_type" not in line and "reference_type" not in line
    )
