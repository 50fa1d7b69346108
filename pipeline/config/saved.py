"""The config of an earlier run, as its checkpoints and its log keep it."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.config.loading import parse
from pipeline.config.run import RunConfig
from stylealae.config import without_retired as of_section
from stylealae.families import sections

__all__ = ["read_saved", "without_retired"]


def read_saved(config: Mapping[str, Any], *, origin: str = "config") -> RunConfig:
    """The config as this version understands it; keys that never did anything may be there.

    Raises:
        ConfigError: it has another key that is unknown, or one that is mistyped or out of range.
    """
    return parse(json.dumps(without_retired(config)), origin=origin)


def without_retired(config: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config without the keys of its family that earlier versions took and nobody read."""
    kinds = sections(str(config.get("family", RunConfig.family)))._asdict()
    found = dict(config)
    for name, kind in kinds.items():
        if isinstance(saved := config.get(name), Mapping):
            found[name] = of_section(kind, saved)
    return found
