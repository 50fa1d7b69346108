"""The sections of a run beside the method: data, engine, saving, logs, metrics, cluster."""

from dataclasses import dataclass
from typing import Literal

from pipeline.config.bounds import require_not_negative
from pipeline.config.world_sizes import bounds
from stylealae.errors import ConfigError

__all__ = [
    "CheckpointConfig",
    "ClusterConfig",
    "DataConfig",
    "EngineConfig",
    "LogConfig",
    "MetricConfig",
]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images a run is shown, and how they reach the trainer."""

    path: str = "datasets/rendered"
    """Folder or URL of a prepared shard set (`stylealae prepare`): it holds manifest.json. Or a
    data set of the hub, `hf://datasets/owner/name@commit`, which is prepared into `cache` first."""
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
        if not self.path.strip():
            raise ConfigError("data.path is empty: name a prepared data set, as in datasets/mine")
        require_not_negative("data", self, "max_broken", "ram_gib", "cache_gib", "patience_s")
        if self.shuffle_img < 1:
            raise ConfigError(f"data.shuffle_img is {self.shuffle_img}: it must be at least 1")
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
    """Autocast of the forward pass; weights, Adam and the R1 branch stay float32.  A CPU without
    instructions for bf16 computes it in float32, which is several times faster there."""
    tf32: Literal["off", "outside_r1", "derivatives", "3xtf32", "on"] = "derivatives"
    """Where convolutions and matrix products of float32 may take TF32 on GPUs, which keeps 10 bits
    of a factor and is several times faster: nowhere; in phases without R1; in R1's derivatives as
    well, which are linear in what is rounded, but not in the forward pass that they are of, which
    is not; the same, with that pass's convolutions as three of TF32 each, for GPUs whose TF32 is
    much faster than float32 (A100, H100, H200, B200); everywhere."""
    deterministic: bool = False
    """The same run twice gives the same bits on GPUs too, with slower algorithms; as CPUs do.  GPUs
    have none for images that augment.kinds scales or rotates."""
    reduce_dtype: Literal["fp32", "bf16"] = "fp32"
    """What gradients are averaged over the workers in: bf16 sends half as much, and rounds."""
    bucket_mib: int = 32
    """ZeRO 1 averages gradients in pieces of so much while the backward pass goes on.  0: all of a
    network at once, rounded as runs of version 0.1 are."""
    zero_stage: int = 1
    """DeepSpeed ZeRO: 0 replicates, 1 shards Adam, 2 also gradients, 3 also weights."""
    micro_batch: tuple[int, ...] = (0,)
    """Images a worker holds at once, one entry a stage (a shorter list goes on with its last
    entry); the rest is accumulated.  0 is a worker's whole share of the batch."""
    recompute_from: int = 0
    """Blocks of this resolution and above compute their activations again in the backward pass
    instead of keeping them: less memory, about a third more time there.  0: none do."""
    offload: bool = False
    """Adam's moments and its step live in the host's memory (ZeRO 1 and above; not in fp16)."""
    threads: int = 0
    """CPU threads a worker computes with; 0 shares the machine's cores among its workers."""
    timeout_s: float = 600.0
    """A collective of a step that takes longer ends the workers.  Longer than data.patience_s:
    while one of them waits for images, the others wait in a collective."""
    profile: int = 0
    """Iterations of every stage, after its first three, that are traced into run_dir/profile."""
    fuse: Literal["auto", "on", "off"] = "auto"
    """Steps between convolutions as a few kernels by torch's compiler: auto on GPUs, on on CPUs too
    (slower, for tests), off nowhere."""
    kernel_cache: str = "~/.cache/stylealae/kernels"
    """Folder on a local disk for these kernels: workers of a host and later starts share them."""

    def __post_init__(self) -> None:
        if self.zero_stage not in (0, 1, 2, 3):
            raise ConfigError(f"engine.zero_stage is {self.zero_stage}: use 0, 1, 2 or 3")
        if self.bucket_mib < 0:
            raise ConfigError(f"engine.bucket_mib is {self.bucket_mib}: use 0 or a positive number")
        if not self.micro_batch or min(self.micro_batch) < 0:
            raise ConfigError(
                f"engine.micro_batch is {list(self.micro_batch)}: give a stage 0 or a positive "
                "number"
            )
        if self.recompute_from < 0:
            raise ConfigError(
                f"engine.recompute_from is {self.recompute_from}: use 0 (none) or a resolution"
            )
        if self.profile < 0:
            raise ConfigError(f"engine.profile is {self.profile}: use 0 (none) or a number")
        if self.threads < 0:
            raise ConfigError(f"engine.threads is {self.threads}: use 0 (shared) or a number")
        if self.timeout_s <= 0:
            raise ConfigError(f"engine.timeout_s is {self.timeout_s:g}: use a positive number")
        if self.offload and not self.zero_stage:
            raise ConfigError(
                "engine.offload needs engine.zero_stage 1 or above: ZeRO 0 keeps Adam whole"
            )
        if self.offload and self.precision == "fp16":
            raise ConfigError(
                "engine.offload is true and engine.precision fp16, whose loss scale is found on "
                "the GPU and would be read on the host before it is there: use "
                "engine.precision=bf16, which needs none, or engine.offload=false"
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
        require_not_negative("checkpoint", self, "patience_s")
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
    to: tuple[str, ...] = ("tensorboard",)
    """Observers: tensorboard, wandb, mlflow, or the dotted name of one of one's own."""
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
    """Lost workers are waited for so long before a stage goes on with fewer, and capacity for more
    must last so long before it stops to grow."""
    patience_s: float = 1800.0
    """A cluster may lack capacity for the fewest workers for so long before the run gives up."""

    def __post_init__(self) -> None:
        if not self.workers:
            raise ConfigError("cluster.workers is []: give at least one number")
        for entry in self.workers:
            bounds(entry)
        require_not_negative("cluster", self, "max_failures", "settle_s", "patience_s")
        if self.cpus_per_worker <= 0:
            raise ConfigError(
                f"cluster.cpus_per_worker is {self.cpus_per_worker:g}: use a number above 0"
            )
        if self.gpus_per_worker not in (0, 1):
            raise ConfigError(
                f"cluster.gpus_per_worker is {self.gpus_per_worker}: a worker drives one GPU (1) "
                "or none (0); for more GPUs raise cluster.workers"
            )
