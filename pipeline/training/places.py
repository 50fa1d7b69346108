"""What a config names on a disk, from wherever one stands: workers begin in other folders."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.storage import is_url, local_path
from pipeline.training.model_folder import anchored

__all__ = ["anchored_config", "anchored_places"]

LOCAL = "data.cache", "engine.kernel_cache", "log.batches", "metrics.cache", "metrics.features"
"""Keys of files and folders of each host; below `~` they are each host's own."""
ATTRIBUTE = {"init.from": "from_"}
"""Of keys that end in a word of Python."""


def anchored_places(cfg: RunConfig, base: Path) -> dict[str, str | tuple[str, ...]]:
    """Every config key that names files or folders, with what it names seen from everywhere.

    What is relative lies below `base`; a URL and the name of a model stay.
    """
    found: dict[str, str | tuple[str, ...]] = {
        "data.path": _shared(cfg.data.path, base),
        "run_dir": _shared(cfg.run_dir, base),
        "init.from": anchored(cfg.init.from_, base),
    }
    for key in LOCAL:
        section, _, field = key.partition(".")
        value = getattr(getattr(cfg, section), field)
        many = isinstance(value, tuple)
        found[key] = tuple(_local(v, base) for v in value) if many else _local(value, base)
    return found


def anchored_config(cfg: RunConfig, base: Path) -> RunConfig:
    """The config with its files and folders as `anchored_places` has them."""
    for key, value in anchored_places(cfg, base).items():
        section, _, field = key.rpartition(".")
        if section:
            changed = replace(getattr(cfg, section), **{ATTRIBUTE.get(key, field): value})
            cfg = replace(cfg, **{section: changed})
        else:
            top: dict[str, Any] = {field: value}
            cfg = replace(cfg, **top)
    return cfg


def _shared(where: str, base: Path) -> str:
    return where if is_url(where) or not where else str(base / local_path(where))


def _local(where: str, base: Path) -> str:
    return where if where.startswith("~") or not where else str(base / where)
