"""The configs that come with the package, by name: `demo`, `ffhq_1024`, `mnist/aae_2d`."""

from pathlib import Path

from stylealae.errors import ConfigError

__all__ = ["located", "packaged"]

FOLDER = (Path(__file__).parents[1] / "configs").resolve()
"""In a checkout a link to `configs/`, in an installed package a copy of it."""


def located(config: Path) -> Path:
    """The file of a config: the path itself, or the packaged config of this name."""
    if config.is_dir() or not config.exists():
        return packaged(str(config)) if not config.suffix else config
    return config


def packaged(name: str) -> Path:
    """The file of a packaged config.

    Raises:
        ConfigError: there is none of this name.
    """
    files = {
        file.relative_to(FOLDER).with_suffix("").as_posix(): file
        for file in sorted(FOLDER.rglob("*.yaml"))
        if file.stem != "base"
    }
    if name not in files:
        raise ConfigError(
            f"cannot read the config {name}: it is no file, and the packaged configs are "
            f"{', '.join(files)}"
        )
    return files[name]
