"""The configs that come with the package, by name: `demo`, `ffhq_1024`, `mnist/aae_2d`."""

from difflib import get_close_matches
from pathlib import Path

from stylealae.errors import ConfigError

__all__ = ["located", "packaged"]

FOLDER = (Path(__file__).parents[1] / "configs").resolve()
"""In a checkout a link to `configs/`, in an installed package a copy of it."""


def packaged(name: str) -> Path:
    """The file of the packaged config of this name."""
    return FOLDER / f"{name}.yaml"


def located(config: Path) -> Path:
    """The file of a config: the path itself, or the packaged config of this name.

    Raises:
        ConfigError: there is neither.
    """
    if config.suffix or (config.exists() and not config.is_dir()):
        return config
    files = sorted(file for file in FOLDER.rglob("*.yaml") if file.stem != "base")
    names = [file.relative_to(FOLDER).with_suffix("").as_posix() for file in files]
    if str(config) not in names:
        near = get_close_matches(str(config), names, 1)
        if near:
            mend = f"did you mean {near[0]}?"
        else:
            mend = f"name a YAML file, or a packaged config: {', '.join(names)}"
        raise ConfigError(f"cannot read the config {config}: it is no file; {mend}")
    return packaged(str(config))
