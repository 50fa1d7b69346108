"""Models that come with the package, by name."""

from pathlib import Path

__all__ = ["DEFAULT", "names", "pretrained", "trained_on"]

FOLDER = Path(__file__).parents[1] / "pretrained"
DEFAULT = "rendered_64"
"""StyleALAE on rendered faces at 64x64: what the studio opens where nothing was trained yet."""
TRAINED_ON = {
    DEFAULT: "Trained on 19,600 rendered faces: photos of people will look like dolls.",
}


def names() -> list[str]:
    """What there is."""
    return sorted(config.parent.name for config in FOLDER.glob("*/config.json"))


def pretrained(name: str) -> Path | None:
    """The snapshot folder of a model that comes with the package; None: there is none so named."""
    return FOLDER / name if name in names() else None


def trained_on(name: str) -> str:
    """A sentence on the images of a model that comes with the package; empty of others."""
    return TRAINED_ON.get(name, "")
