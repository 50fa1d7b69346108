"""The text of a config as plain values; what it may not say is refused."""

from pathlib import Path
from typing import Any, cast
from unicodedata import category

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pipeline.config.bounds import require_bounded, require_decimal
from pipeline.config.messages import first_lines
from stylealae.errors import ConfigError

__all__ = ["read", "read_file", "require_data"]

LINES = "a config is made of lines `key: value`"


def read_file(path: Path) -> dict[str, Any]:
    """What a config's file says.

    Raises:
        ConfigError: it cannot be read, or is no YAML of keys and values.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot read the config {path}: it is not UTF-8 ({error}): save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error}") from error
    return read(text, str(path))


def read(text: str, origin: str) -> dict[str, Any]:
    """What YAML text says.

    Raises:
        ConfigError: it is no YAML of keys and values.
    """
    require_bounded(text, origin)
    try:
        given = OmegaConf.create(text) if text.strip() else OmegaConf.create()
    except RecursionError as error:
        raise ConfigError(f"{origin}: it is nested too deep for a config") from error
    except AssertionError as error:  # a single number
        raise ConfigError(f"{origin}: found no keys: {LINES}") from error
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{origin}: {first_lines(error)}") from error
    if not OmegaConf.is_dict(given):
        raise ConfigError(f"{origin}: found a list: {LINES}")
    require_decimal(text, origin)
    return cast(dict[str, Any], OmegaConf.to_container(given))


def require_data(part: object, origin: str, key: str = "") -> None:
    """Refuses values that OmegaConf would look up elsewhere, and text that is partly invisible.

    Raises:
        ConfigError: one is there.
    """
    if isinstance(part, dict):
        for name, value in part.items():
            require_data(value, origin, f"{key}.{name}" if key else str(name))
    elif isinstance(part, list):
        for value in part:
            require_data(value, origin, key)
    elif part == "???":
        raise ConfigError(f"{origin}: {key} is ???, which stands for a value to come: give it one")
    elif isinstance(part, str) and "${" in part:
        raise ConfigError(
            f"{origin}: {key} is {part!r}, and a config's values are data, nothing is looked up "
            "for them: write the value itself; on the command line the shell can put it there"
        )
    elif isinstance(part, str) and any(category(letter) == "Cc" for letter in part):
        raise ConfigError(
            f"{origin}: {key} is {part!r}, with characters that cannot be seen: YAML reads \\n and "
            "\\t in double quotes as such, so write a path in single quotes"
        )
