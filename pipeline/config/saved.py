"""The config of an earlier run, as its checkpoints and its log keep it."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.config.loading import parse
from pipeline.config.run import RunConfig
from stylealae.families import sections

__all__ = ["read_saved", "without_retired"]


def read_saved(config: Mapping[str, Any], *, origin: str = "config") -> RunConfig:
    """The config as this version understands it; keys that never did anything may be there.

    Raises:
        ConfigError: it has another key that is unknown, or one that is mistyped or out of range.
    """
    return parse(json.dumps(without_retired(config)), origin=origin)


def without_retired(config: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config without the keys of `loss` that earlier versions took and did not read."""
    loss = config.get("loss")
    if not isinstance(loss, Mapping):
        return dict(config)
    retired = sections(str(config.get("family", RunConfig.family))).loss.retired
    return {**config, "loss": {key: value for key, value in loss.items() if key not in retired}}
