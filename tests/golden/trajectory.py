"""A trajectory: what a run in miniature was shown, lost, and ended with."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.storage import open_storage
from pipeline.training.checkpoints import latest
from pipeline.training.resume import next_stage
from pipeline.training.trainer import train_stage
from pipeline.world import World

__all__ = ["Trajectory", "trajectory"]

PARTS = ("networks", "ema", "adam")
AVERAGED = ("networks", "ema")
EARLY = 2
LOSS_TOLERANCE, NORM_TOLERANCE = 5e-3, {"networks": 5e-2, "ema": 1e-2}
"""Relative: of the first losses, and of the norms after all iterations.

Between SSE4.1, AVX2 and AVX-512 on one processor they were 1.1e-3 and 2.4e-3 apart at most; between
an AMD EPYC and an Intel Xeon the weights of `age` 3.1e-2, whose average was 2e-5.  The third loss
is chaos already: with SSE4.1 alone StyleALAE's generator's was 1.1e-2 off.
"""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """A run in a few numbers."""

    exact: dict[str, str]
    """SHA-256 of the order of the images, of all losses, and of every part of the end."""
    early: dict[str, list[float]]
    """Each loss of the first iterations."""
    norms: dict[str, float]
    """Norms of weights and averages at the end."""

    def differences(self, golden: Self, *, bitwise: bool) -> list[str]:
        """What is not as recorded, to the bit or by tolerance; the order of images always is."""
        names = self.exact if bitwise else ["order"]
        found = [f"the {n} differ" for n in names if self.exact[n] != golden.exact[n]]
        if self.early.keys() != golden.early.keys():
            return [*found, f"the losses are {[*self.early]}, recorded were {[*golden.early]}"]
        for name, values in self.early.items():
            pairs = zip(values, golden.early[name], strict=True)
            found += [f"{name} is {a}, was {b}" for a, b in pairs if _far(a, b, LOSS_TOLERANCE)]
        pairs = ((part, norm, golden.norms[part]) for part, norm in self.norms.items())
        found += [f"|{p}| is {a}, was {b}" for p, a, b in pairs if _far(a, b, NORM_TOLERANCE[p])]
        return found


def trajectory(cfg: RunConfig, world: World) -> Trajectory:
    """Trains a run to its end; its log must have a row an iteration."""
    run_dir = Path(cfg.run_dir)
    storage = open_storage(cfg.run_dir)
    cfg = replace(cfg, log=replace(cfg.log, batches=str(run_dir / "batches")))
    while (stage := next_stage(cfg, storage)) is not None:
        assert train_stage(cfg, stage, world, storage)
    end = latest(storage)
    assert end is not None
    parts = {part: end.tensors(part) for part in PARTS}
    batches = [row for file in (run_dir / "batches").iterdir() for row in _rows(file)]
    losses = _losses(_rows(run_dir / "metrics.jsonl"))
    hashes = {part: _digest_of_tensors(tensors) for part, tensors in parts.items()}
    order = sorted((row["seen"], row["ids"]) for row in batches)
    return Trajectory(
        exact={"order": _digest(order), "losses": _digest(losses), **hashes},
        early={tag: [_short(v) for v in values[:EARLY]] for tag, values in losses.items()},
        norms={part: _short(_norm(parts[part])) for part in AVERAGED},
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _losses(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Every loss by its tag, in the order of iterations that have it."""
    tags = sorted({tag for row in rows for tag in row if tag.startswith("loss/")})
    return {tag: [row[tag] for row in rows if tag in row] for tag in tags}


def _digest(value: object) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()


def _digest_of_tensors(tensors: dict[str, Tensor]) -> str:
    """Of names and bytes, whatever a file puts around them."""
    digest = sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _norm(tensors: dict[str, Tensor]) -> float:
    return float(torch.stack([t.double().norm() for t in tensors.values()]).norm())


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _far(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) > tolerance * max(abs(b), tolerance)
