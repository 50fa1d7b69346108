"""A run is one typed value: method + data + engine + cluster, merged from defaults, YAML and overrides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stylealae.config import LossConfig, ModelConfig, ScheduleConfig
from stylealae.errors import ConfigError

__all__ = ["ClusterConfig", "DataConfig", "EngineConfig", "LogConfig", "RunConfig", "dump", "load"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images a run is shown, and how they reach the trainer."""

    path: str = "datasets/rendered"
    """Folder of a prepared shard set (`stylealae prepare`): it holds manifest.json."""
    split: str = "train"
    """Split of the manifest to train on."""
    flip: bool = True
    """Mirror half of the images, keyed by sample and epoch."""
    shuffle_img: int = 16_384
    """Images of consecutive (permuted) shards that are shuffled together."""
    ram_gib: float = 2.0
    """A resolution's images are held in memory when they take no more than this; else memory-mapped."""
    prefetch: int = 4
    """Batches read ahead by the reader's thread."""
    max_broken: int = 0
    """Images with a wrong hash or an undecodable file after which the run stops."""
