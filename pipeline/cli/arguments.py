"""Arguments and options that several commands share."""

import os
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import click

from stylealae.errors import ConfigError

__all__ = ["CONFIG", "COUNT", "DEVICE", "FEATURES", "IMAGES", "LABELS", "MODEL", "OUT"]
__all__ += ["OVERRIDES", "OVERWRITE", "PATH", "PICTURES", "SHA256", "require_free"]
__all__ += ["FiniteRange", "require_picture", "words"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
"""Formats that pictures are written in, by the endings of their files."""
C = TypeVar("C", bound=Callable[..., object])


class _Path(click.Path):
    """A path, also of `~`, which a shell leaves as it is in `--out=~/x` and between quotes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


class FiniteRange(click.FloatRange):
    """A range of numbers, without `nan`, which lies in every range, and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that a text is."""
        found = super().convert(value, param, ctx)
        if not isfinite(found):
            self.fail(f"{value} is no finite number.", param, ctx)
        return found


PATH = _Path(path_type=Path)


def require_picture(option: str, out: Path, *others: str) -> None:
    """Refuses, before any work, a path that no picture can be written to."""
    endings = dict.fromkeys((*PICTURES, *others))
    if out.suffix.lower() not in PICTURES:
        raise ConfigError(f"{option} is {out}: end it in {', '.join(endings)}")
    if out.is_dir():
        raise ConfigError(f"{option} is {out}, a folder: name a file in it")
    if file := next((above for above in out.parents if above.is_file()), None):
        raise ConfigError(f"{option} is {out}, and {file} is a file: name another folder")


def require_free(out: Path, *, overwrite: bool) -> None:
    """Refuses a folder for a model that holds something, unless it is a model to be replaced."""
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(f"{out} exists: name another folder, or replace it with --overwrite")
    if not out.is_dir() or (any(out.iterdir()) and not (out / "config.json").exists()):
        raise ConfigError(f"{out} is not a model, and --overwrite replaces nothing else")


def words(given: str) -> list[str]:
    """Those of a list with commas between, each once."""
    return list(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))


def _picture(_: click.Context, option: click.Parameter, out: Path) -> Path:
    require_picture(option.opts[0], out)
    return out


CONFIG = click.argument("config", type=PATH)
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[key=value]...")

MODEL = click.argument("model", type=PATH)
IMAGES = click.argument("images", nargs=-1, required=True)
OUT = click.option(
    "--out", required=True, type=PATH, callback=_picture,
    help="PNG, JPEG, WebP, TIFF or BMP to write.",
)  # fmt: skip
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what is there.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda or cuda:1; auto: a GPU if any."
)

FEATURES = click.option(
    "--features", multiple=True, type=PATH,
    help="File of a feature extractor: inception-2015-12-05.pt, vgg16.pt, or TorchScript "
         "of your own. Give it again for another.",
)  # fmt: skip
SHA256 = click.option("--sha256", default="", help="Hash that a file of your own must have.")
LABELS = click.option(
    "--labels",
    default="",
    help="Labels for separability, with commas between; of classes which one, as in gender:Male.",
)


def COUNT(default: int | None) -> Callable[[C], C]:  # noqa: N802 - an option as the others
    """The option that bounds the number of images."""
    return click.option("--count", default=default, show_default=default is not None,
                        type=click.IntRange(1), help="At most this many images.")  # fmt: skip
