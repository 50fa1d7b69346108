"""What each key of a config holds, and whether what was written for it is of that kind."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from stylealae.errors import ConfigError

__all__ = ["Sections", "as_lists", "is_text", "kind_of", "require_kinds"]

Sections = Mapping[str, type]
"""The classes of `model` and `loss`, which a run's family decides."""


def kind_of(key: str, run: type, sections: Sections) -> Any:
    """What a dotted key holds, as it is annotated; None of a key that there is not."""
    first, *rest = key.split(".")
    found = sections.get(first) or _hints(run).get(first)
    for name in rest:
        hints = _hints(found) if isinstance(found, type) and is_dataclass(found) else {}
        found = hints.get(name, hints.get(f"{name}_"))  # init.from is held in from_
    return found


def is_text(kind: Any) -> bool:
    """Whether it is `str`, or one of some words."""
    return kind is str or (get_origin(kind) is Literal and isinstance(get_args(kind)[0], str))


def as_lists(given: Any, run: type, sections: Sections, at: str = "") -> Any:
    """What a file says, a single value where a list is wanted made a list of one."""
    if isinstance(given, dict):
        return {
            name: as_lists(value, run, sections, f"{at}.{name}" if at else str(name))
            for name, value in given.items()
        }
    wants_list = get_origin(kind_of(at, run, sections)) is tuple
    return [given] if wants_list and isinstance(given, str | int | float) else given


def require_kinds(given: Any, origin: str, run: type, sections: Sections, at: str = "") -> None:
    """Refuses what YAML took for something else where text is wanted: 007, no, 12:30, {a: 1}.

    And values that there are not, and lists and sections where a key holds none.

    Raises:
        ConfigError: a value, or an entry of a list, is of another kind than its key holds.
    """
    for name, value in given.items():
        key = f"{at}.{name}" if at else str(name)
        kind = kind_of(key, run, sections)
        if "." in str(name) and kind_of(key, run, sections) is not None:
            raise ConfigError(
                f"{origin}: {key} is written with a dot, as on the command line: in a file a key "
                f"stands below its section, {_nested(key)}"
            )
        if isinstance(kind, type) and is_dataclass(kind):
            if isinstance(value, dict):
                require_kinds(value, origin, run, sections, key)
            elif value is None:
                raise ConfigError(f"{origin}: {key} has no keys below it: give one, or remove it")
        elif kind is not None:
            _require_kind(kind, value, f"{origin}: {key}")


def _require_kind(kind: Any, value: object, key: str) -> None:
    """Refuses a value of a key that is no section; `key` begins the sentence."""
    several = get_origin(kind) is tuple
    entries = value if several and isinstance(value, list) else [value]
    entry = get_args(kind)[0] if several else kind
    if value is None or (None in entries and not is_text(entry)):
        raise ConfigError(f"{key} has no value: give one, or leave the key out")
    if is_text(entry) and not all(isinstance(one, str) for one in entries):
        raise ConfigError(f"{key} is {value!r} to YAML, and text is wanted: put it in quotes")
    if any(isinstance(one, list | dict) for one in entries):
        wanted = "a list of single values" if several else "a single value"
        raise ConfigError(f"{key} is {value!r}, and {wanted} is wanted")
    if isinstance(entry, UnionType) and not all(type(one) in get_args(entry) for one in entries):
        raise ConfigError(f"{key} is {value!r}, and whole numbers or text are wanted")
    if entry is bool and value not in (0, 1) and not isinstance(value, str):
        raise ConfigError(f"{key} is {value!r}, and true or false is wanted")


def _nested(key: str) -> str:
    """`schedule.lr` as YAML of one line: schedule: {lr: ...}."""
    *above, last = key.split(".")
    return ": {".join([*above, last]) + ": ..." + "}" * len(above)


@cache
def _hints(section: type) -> Mapping[str, Any]:
    """The keys of a section, and what each holds."""
    return get_type_hints(section)
