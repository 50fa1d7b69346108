"""Arguments and options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

__all__ = ["CONFIG", "COUNT", "DEVICE", "IMAGES", "MODEL", "OUT", "OVERRIDES"]

C = TypeVar("C", bound=Callable[..., object])

CONFIG = click.argument("config", type=click.Path(path_type=Path))
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[key=value]...")

MODEL = click.argument("model", type=click.Path(path_type=Path))
IMAGES = click.argument("images", nargs=-1, required=True)
OUT = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="PNG (or other picture) to write."
)
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda or cuda:1; auto: a GPU if any."
)


def COUNT(default: int | None) -> Callable[[C], C]:  # noqa: N802 - an option as the others
    """The option that bounds the number of images."""
    return click.option("--count", default=default, show_default=default is not None,
                        type=click.IntRange(1), help="At most this many images.")  # fmt: skip
