"""Nested values by dotted keys."""

from collections.abc import Mapping
from typing import Any

__all__ = ["leaves"]


def leaves(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Every value of a config, or of anything nested as one, by its dotted key."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += leaves(value, f"{before}{key}.")
        else:
            found.append((f"{before}{key}", value))
    return found
