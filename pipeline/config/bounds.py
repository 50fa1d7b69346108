"""What a config's text may ask of whoever reads it, and its numbers may be."""

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import is_dataclass

import yaml

from stylealae.errors import ConfigError

__all__ = ["require_bounded", "require_decimal", "require_finite", "require_not_negative"]

MAX_CHARACTERS, MAX_DEPTH, MAX_VALUE = 1 << 20, 50, 4096
NOT_DECIMAL = re.compile(r"[-+]?(0[0-7_]+|[1-9][\d_]*(:[0-5]?\d)+(\.[\d_]*)?)")
"""What YAML 1.1 reads to the base of 8 or of 60."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def require_bounded(text: str, origin: str) -> None:
    """Refuses text that is too long or nested too deep to be a config, and values of such length.

    Raises:
        ConfigError: it is.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"{origin}: it has {len(text):,} characters, more than the {MAX_CHARACTERS:,} that a "
            "config may have"
        )
    depth = 0
    for event in _events(text):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{origin}: it is nested too deep for a config")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_VALUE:
            raise ConfigError(
                f"{origin}: a value has {len(event.value):,} characters, and may have {MAX_VALUE:,}"
            )


def require_decimal(text: str, origin: str) -> None:
    """Refuses numbers that YAML would read to the base of 8 or of 60: 010 and 1:30.

    Raises:
        ConfigError: one is there.
    """
    for event in _events(text):
        plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
        if plain and NOT_DECIMAL.fullmatch(event.value):
            line = f", line {event.start_mark.line + 1}" if "\n" in text else ""
            raise ConfigError(
                f"{origin}{line}: {event.value} is {yaml.safe_load(event.value)} to YAML: write a "
                "number without a leading 0 and without colons, or put text in quotes"
            )


def require_finite(part: object, origin: str, key: str = "") -> None:
    """Refuses, in a config or a part of one, NaN and infinity: no comparison finds fault with NaN.

    Raises:
        ConfigError: one is there.
    """
    if is_dataclass(part):
        for name, value in vars(part).items():
            require_finite(value, origin, f"{key}.{name}" if key else name)
    elif isinstance(part, tuple):
        for value in part:
            require_finite(value, origin, key)
    elif isinstance(part, float) and not math.isfinite(part):
        raise ConfigError(f"{origin}: {key} is {part}, and a finite number is wanted")


def require_not_negative(section: str, part: object, *names: str) -> None:
    """Refuses fields of a section that are below 0.

    Raises:
        ConfigError: one is.
    """
    for name in names:
        if getattr(part, name) < 0:
            raise ConfigError(f"{section}.{name} is {getattr(part, name):g}: it cannot be negative")


def _events(text: str) -> Iterator[yaml.Event]:
    """What the text says, up to where it is no YAML: OmegaConf tells of that by its line."""
    with suppress(yaml.YAMLError):
        yield from yaml.parse(text, Loader=LOADER)
