"""A snapshot on disk: weights in safetensors, what they are in config.json, a model card.

It may be of any family; `config.json` has its name.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylealae.config import ShapeConfig
from stylealae.errors import CheckpointError, ConfigError

__all__ = ["Snapshot", "read", "write"]

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FORMAT = 1
M = TypeVar("M", bound=ShapeConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot(Generic[M]):
    """What a snapshot holds."""

    family: str
    model: M
    tensors: dict[str, Tensor]
    stage: int
    seen: int


def write(folder: Path, snapshot: Snapshot[M], card: str) -> None:
    """Writes a snapshot into an existing folder."""
    save_file({k: v.contiguous() for k, v in snapshot.tensors.items()}, folder / WEIGHTS)
    about: dict[str, object] = {
        "format": FORMAT,
        "family": snapshot.family,
        "model": dataclasses.asdict(snapshot.model),
        "stage": snapshot.stage,
        "seen": snapshot.seen,
    }
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n")
    (folder / CARD).write_text(card)


def read(
    folder: Path,
    section: Callable[[str], type[M]],
    device: str | torch.device = "cpu",
) -> Snapshot[M]:
    """What a snapshot folder holds; `section` gives a family's class of model config.

    Raises:
        CheckpointError: the folder is no snapshot, or one that is torn or of another format.
    """
    try:
        about = json.loads((folder / CONFIG).read_text())
        if about["format"] != FORMAT:
            raise CheckpointError(
                f"{folder} is a snapshot of format {about['format']}, this version reads "
                f"{FORMAT}: use the version of stylealae that wrote it"
            )
        family = about.get("family", "stylealae")
        return Snapshot(
            family=family,
            model=section(family)(**about["model"]),
            tensors=load_file(folder / WEIGHTS, device=str(device)),
            stage=int(about["stage"]),
            seen=int(about["seen"]),
        )
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is no snapshot: {Path(error.filename).name} is missing; give the folder "
            "that training wrote, such as runs/demo/0032/snapshot"
        ) from error
    except (KeyError, TypeError, ValueError, ConfigError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is no whole snapshot: {error}") from error
