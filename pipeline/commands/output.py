"""What commands write."""

from pathlib import Path
from typing import Any

import click

from stylealae.errors import ConfigError

__all__ = ["write_picture"]


def write_picture(picture: Any, out: Path) -> None:
    """Saves a PIL picture, and says where."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {out}: {error}") from error
    click.echo(out)
