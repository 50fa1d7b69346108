"""Overrides, `key=value`: each value is read as what its key holds.

    run_dir=runs/photos #1      text as it stands: no comment, number or truth value is found in it
    cluster.workers=2           a list of one; [2,4] and 2,4 are lists of two

What is neither text nor a list is YAML.
"""

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from omegaconf import DictConfig, OmegaConf

from pipeline.config.bounds import require_decimal
from pipeline.config.kinds import Sections, is_text, kind_of
from stylealae.errors import ConfigError

__all__ = ["merged"]


def merged(overrides: Sequence[str], run: type, sections: Sections) -> DictConfig:
    """The overrides as a config: of a key that is given twice, the last.

    Raises:
        ConfigError: an override has no key.
        YAMLError: a value that is not text does not parse.
    """
    found = OmegaConf.create()
    for override in overrides:
        key, equals, value = override.partition("=")
        if not (key.strip() and equals) or "[" in key:
            raise ConfigError(
                f"{override!r} is no override: write key=value without spaces, as in "
                "schedule.lr=[0.002]"
            )
        key = key.strip()
        above = key.rpartition(".")[0]
        holds = kind_of(above, run, sections) if above else run
        if holds is not None and not is_dataclass(holds):
            raise ConfigError(
                f"{override!r}: {above} has no keys of its own, write all of it, as in "
                "schedule.lr=[0.002]"
            )
        kind = kind_of(key, run, sections)
        if not _is_texts(kind):
            require_decimal(value, repr(override))
        if get_origin(kind) is tuple and not value.lstrip().startswith("["):
            found.merge_with_dotlist([f"{key}=[{value}]"])
        elif is_text(kind):
            OmegaConf.update(found, key, value)
        else:
            found.merge_with_dotlist([f"{key}={value}"])
    return found


def _is_texts(kind: Any) -> bool:
    """Whether it is text, or a list of texts."""
    return is_text(get_args(kind)[0]) if get_origin(kind) is tuple else is_text(kind)
