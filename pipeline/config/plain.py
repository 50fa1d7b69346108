"""A config as plain values, and as the YAML that it is read back from."""

from dataclasses import fields, is_dataclass
from typing import Any, cast

from omegaconf import OmegaConf

from pipeline.config.run import RunConfig

__all__ = ["as_dict", "as_yaml"]


def as_yaml(cfg: RunConfig) -> str:
    """The resolved config as YAML that `parse` turns back into the same value."""
    return OmegaConf.to_yaml(OmegaConf.create(as_dict(cfg)))


def as_dict(cfg: RunConfig) -> dict[str, object]:
    """The resolved config as plain dicts and lists."""
    found = cast(dict[str, Any], _plain(cfg))
    found["init"] = {key.rstrip("_"): value for key, value in found["init"].items()}
    return found


def _plain(value: object) -> object:
    """A section as a dict, a tuple as a list, anything else as it is."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
