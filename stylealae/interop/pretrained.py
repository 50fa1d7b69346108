"""Models that come with the package, by name."""

from pathlib import Path

__all__ = ["DEFAULT", "names", "pretrained"]

FOLDER = Path(__file__).parents[1] / "pretrained"
DEFAULT = "rendered_64"
"""StyleALAE on rendered faces at 64x64: what the studio opens where nothing was trained yet."""


def names() -> list[str]:
    """What there is."""
    return sorted(config.parent.name for config in FOLDER.glob("*/config.json"))


def pretrained(name: str) -> Path | None:
    """The snapshot folder of a model that comes with the package; None: there is none so named."""
    return FOLDER / name if name in names() else None
