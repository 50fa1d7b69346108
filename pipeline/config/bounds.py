"""What a config's text may ask of whoever reads it, seen before anything is built of it."""

from collections.abc import Iterator
from contextlib import suppress

import yaml

from stylealae.errors import ConfigError

__all__ = ["require_bounded"]

MAX_CHARACTERS, MAX_DEPTH, MAX_VALUE = 1 << 20, 50, 4096
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


def _events(text: str) -> Iterator[yaml.Event]:
    """What the text says, up to where it is no YAML: OmegaConf tells of that by its line."""
    with suppress(yaml.YAMLError):
        yield from yaml.parse(text, Loader=LOADER)
