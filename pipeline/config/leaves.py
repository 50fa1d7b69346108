"""Nested values by dotted keys."""

from collections.abc import Mapping

__all__ = ["leaves"]


def leaves(values: Mapping[str, object], before: str = "") -> list[tuple[str, object]]:
    """Every value of a config, or of anything nested as one, by its dotted key."""
    found: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += leaves(value, f"{before}{key}.")
        else:
            found.append((f"{before}{key}", value))
    return found
