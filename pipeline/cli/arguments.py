"""What commands take: a model, images, a device; and the styles of many images, batch by batch."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stylealae.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.data.images import Image
    from stylealae import StyleALAE

__all__ = [
    "COUNT",
    "DEVICE",
    "IMAGES",
    "MODEL",
    "OUT",
    "encoded",
    "open_model",
    "read_batches",
    "snapshot_of",
]

log = logging.getLogger(__name__)
PLAIN = 2 / 127.5
"""Standard deviation of an image that shows nothing: two of its 256 grey values."""

C = TypeVar("C", bound=Callable[..., Any])

MODEL = click.argument("model", type=click.Path(path_type=Path))
IMAGES = click.argument("images", nargs=-1, required=True)
OUT = click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="PNG (or other picture) to write."
)
DEVICE = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda or cuda:1; auto: a GPU if any."
)


def COUNT(default: int | None) -> Callable[[C], C]:  # noqa: N802 - an option, as the others
    """The option that bounds the images."""
    return click.option("--count", default=default, show_default=default is not None,
                        type=click.IntRange(1), help="At most this many images.")  # fmt: skip


def open_model(path: Path, device: str = "auto") -> "StyleALAE":
    """The model of a snapshot, of a run's last finished stage, or of a released .pth file."""
    from stylealae import StyleALAE

    where = _device(device)
    if path.is_file():
        return StyleALAE.from_released(path, device=where)
    return StyleALAE.load(snapshot_of(path), where)


def snapshot_of(path: Path) -> Path:
    """The folder of a model: a snapshot itself, or the last finished stage's of a run.

    Raises:
        ConfigError: the path is a file.
    """
    if path.is_file():
        raise ConfigError(
            f"{path} is a file, nothing can be kept beside its model: name a folder with --out or "
            "--directions, or turn it into a snapshot with `stylealae import`"
        )
    if (path / "config.json").exists():
        return path
    stages = sorted(path.glob("[0-9][0-9][0-9][0-9]*/snapshot"))
    return stages[-1] if stages else path


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used ({why}): give cpu, or leave it out"
        ) from error
    return name


def read_batches(
    m: "StyleALAE",
    images: Sequence[str | Path],
    *,
    count: int | None = None,
    labels: Path | None = None,
    what: str = "images",
) -> "Iterator[tuple[list[Image], Tensor]]":
    """The images for a model, as many at a time as it can well take, under a progress bar."""
    from pipeline.cli.output import progress
    from pipeline.data.images import batches, read_images

    found = read_images(images, m.resolution, channels=m.model.channels, count=count, labels=labels)
    size = max(1, min(64, (1 << 20) // m.resolution**2))
    with progress(what, count) as advance:
        for batch, x in batches(found, size):
            for image, spread in zip(batch, x.flatten(1).std(1).tolist(), strict=True):
                if spread < PLAIN:
                    log.warning("%s is nearly of one colour: no face can be seen in it", image.name)
            yield batch, x.to(m.device)
            advance(len(batch))


def encoded(
    m: "StyleALAE", images: Sequence[str | Path], count: int | None
) -> "tuple[list[str], Tensor, Tensor]":
    """Names, images [N, C, R, R] and their styles [N, W]."""
    import torch

    names: list[str] = []
    parts: list[tuple[Tensor, Tensor]] = []
    for batch, x in read_batches(m, images, count=count):
        names += [image.name.rpartition("/")[2] for image in batch]
        parts.append((x, m.encode(x)))
    return names, *(torch.cat(part) for part in zip(*parts, strict=True))  # type: ignore[return-value]
