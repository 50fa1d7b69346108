"""A snapshot on disk: weights in safetensors, what they are in config.json, a model card.

It may be of any family; `config.json` has its name.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from stylealae.config import ShapeConfig, without_retired
from stylealae.errors import CheckpointError, ConfigError
from stylealae.interop.integrity import (
    MANIFEST,
    require_file,
    require_finite,
    require_manifest,
    require_shapes,
    shapes_of,
)
from stylealae.interop.layout import CARD, CONFIG, WEIGHTS
from stylealae.networks.group import NetworkGroup
from stylealae.tensor_file import write_tensors

__all__ = ["Snapshot", "read", "write"]

FORMAT = 1
TORN = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    RuntimeError,
)
"""What a config that was altered ends in."""
M = TypeVar("M", bound=ShapeConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot(Generic[M]):
    """What a snapshot holds."""

    family: str
    model: M
    tensors: dict[str, Tensor]
    stage: int
    seen: int
    origin: str = ""
    """Where the weights are from, if not from a training that drew the first ones."""


def write(folder: Path, snapshot: Snapshot[M], card: str, *, half: bool = False) -> None:
    """Writes a snapshot into an existing folder; a manifest of what was there before goes.

    `half` keeps the weights in half precision, which are read in float32 again.

    Raises:
        CheckpointError: a weight is too large for half precision.
    """
    tensors = snapshot.tensors
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    (folder / MANIFEST).unlink(missing_ok=True)
    write_tensors(folder / WEIGHTS, tensors)
    about: dict[str, object] = {
        "format": FORMAT,
        "family": snapshot.family,
        "model": dataclasses.asdict(snapshot.model),
        "stage": snapshot.stage,
        "seen": snapshot.seen,
    }
    if snapshot.origin:
        about["origin"] = snapshot.origin
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n")
    (folder / CARD).write_text(card)


def read(
    folder: Path,
    section: Callable[[str], type[M]],
    networks: Callable[[str, M], NetworkGroup],
    device: str | torch.device = "cpu",
) -> Snapshot[M]:
    """What a snapshot folder holds, every byte as its manifest says, where it has one.

    `section` gives a family's class of model config, `networks` builds it: on "meta" alone, to
    compare the shapes before anything is allocated.

    Raises:
        CheckpointError: the folder is no snapshot, or one that is torn, of another format, of other
            shapes than its config says, or with weights that are not finite.
    """
    for name in (CONFIG, WEIGHTS):
        require_file(
            folder / name,
            advice="it is no snapshot, give the folder that training wrote, such as "
            "runs/demo/0032/snapshot",
            text=name == CONFIG,
        )
    require_manifest(folder)
    try:
        about = json.loads((folder / CONFIG).read_text())
        if about["format"] != FORMAT:
            raise CheckpointError(
                f"{folder} is a snapshot of format {about['format']}, this version reads "
                f"{FORMAT}: use the version of stylealae that wrote it"
            )
        family, stage, seen = about.get("family", "stylealae"), about["stage"], about["seen"]
        origin = str(about.get("origin", ""))
        kind = section(family)
        model = kind(**without_retired(kind, about["model"]))
        if not model.first_stage <= int(stage) <= model.last_stage:
            raise ValueError(f"stage {stage} is none of its networks")
        wanted = shapes_of(lambda: networks(family, model))
        require_shapes(folder, _shapes(folder / WEIGHTS), wanted)
        tensors = load_file(folder / WEIGHTS, device=str(device))
    except KeyError as error:
        raise CheckpointError(f"{folder} is no whole snapshot: {CONFIG} has no {error}") from error
    except (*TORN, ConfigError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is no whole snapshot: {error}") from error
    # a single whole number is a batch norm's count
    if whole := [name for name, t in tensors.items() if t.dim() and not t.is_floating_point()]:
        raise CheckpointError(
            f"{folder / WEIGHTS}: {whole[0]} holds whole numbers ({tensors[whole[0]].dtype}), and "
            "weights are in float16, bfloat16, float32 or float64: convert it"
        )
    require_finite(folder / WEIGHTS, tensors)
    tensors = {name: t.float() if t.dtype == torch.half else t for name, t in tensors.items()}
    return Snapshot(
        family=family, model=model, tensors=tensors, stage=int(stage), seen=int(seen),
        origin=origin,
    )  # fmt: skip


def _halved(name: str, tensor: Tensor) -> Tensor:
    half = tensor.half()
    if not bool(torch.isfinite(half).all()):
        raise CheckpointError(
            f"{name} holds {float(tensor.abs().max()):g}, and half precision ends at 65,504: write "
            "the weights in full precision"
        )
    return half


def _shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, from the header alone, whose lengths the library has checked."""
    with safe_open(weights, framework="pt") as found:
        return {name: tuple(found.get_slice(name).get_shape()) for name in found.keys()}  # noqa: SIM118
