"""Overrides, `key=value`: each value is read as what its key holds.

    run_dir=runs/photos #1      text as it stands: no comment, number or truth value is found in it
    cluster.workers=2           a list of one; [2,4] and 2,4 are lists of two

What is neither text nor a list is YAML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from stylealae.errors import ConfigError

__all__ = ["merged", "require_text"]

Sections = Mapping[str, type]
"""The classes of `model` and `loss`, which a run's family decides."""


def merged(overrides: Sequence[str], run: type, sections: Sections) -> DictConfig:
    """The overrides as a config: of a key that is given twice, the last.

    Raises:
        ConfigError: an override has no key.
        YAMLError: a value that is not text does not parse.
    """
    found = OmegaConf.create()
    for override in overrides:
        key, equals, value = override.partition("=")
        if not (key.strip() and equals):
            raise ConfigError(
                f"{override!r} is no override: write key=value without spaces, as in "
                "schedule.lr=[0.002]"
            )
        key = key.strip()
        above = key.rpartition(".")[0]
        holds = _type_of(above, run, sections) if above else run
        if holds is not None and not is_dataclass(holds):
            raise ConfigError(
                f"{override!r}: {above} has no keys of its own, write all of it, as in "
                "schedule.lr=[0.002]"
            )
        kind = _type_of(key, run, sections)
        if get_origin(kind) is tuple and not value.lstrip().startswith("["):
            found.merge_with_dotlist([f"{key}=[{value}]"])
        elif _is_text(kind):
            OmegaConf.update(found, key, value)
        else:
            found.merge_with_dotlist([f"{key}={value}"])
    return found


def require_text(given: object, origin: str, run: type, sections: Sections, at: str = "") -> None:
    """Refuses what YAML took for something else where text is wanted: 007, no, 12:30, {a: 1}.

    Raises:
        ConfigError: a value of a text key, or an entry of a list of texts, is no text.
    """
    for name, value in given.items() if isinstance(given, dict) else ():
        key = f"{at}.{name}" if at else str(name)
        if isinstance(value, dict):
            require_text(value, origin, run, sections, key)
        elif not _is_read_as(_type_of(key, run, sections), value):
            raise ConfigError(
                f"{origin}: {key} is {value!r} to YAML, and text is wanted: put it in quotes"
            )


def _type_of(key: str, run: type, sections: Sections) -> Any:
    """What a dotted key holds, as it is annotated; None of a key that there is not."""
    first, *rest = key.split(".")
    found = sections.get(first) or _hints(run).get(first)
    for name in rest:
        hints = _hints(found) if isinstance(found, type) and is_dataclass(found) else {}
        found = hints.get(name, hints.get(f"{name}_"))  # init.from is held in from_
    return found


@cache
def _hints(section: type) -> Mapping[str, Any]:
    """The keys of a section, and what each holds."""
    return get_type_hints(section)


def _is_read_as(kind: Any, value: object) -> bool:
    """Whether YAML read text where the key holds text, or a list of texts."""
    if get_origin(kind) is tuple and isinstance(value, list):
        return not _is_text(get_args(kind)[0]) or all(isinstance(text, str) for text in value)
    return not _is_text(kind) or isinstance(value, str | None)


def _is_text(kind: Any) -> bool:
    """Whether it is `str`, or one of some words."""
    return kind is str or (get_origin(kind) is Literal and isinstance(get_args(kind)[0], str))
