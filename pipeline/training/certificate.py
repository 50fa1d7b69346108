"""How far a replay is from the run: its certificate, as JSON can hold it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.storage import Storage
from pipeline.training import checkpoints, snapshots
from pipeline.training.checkpoints import Checkpoint
from pipeline.training.logs import ENVIRONMENT, METRICS
from stylealae.errors import CheckpointError
from stylealae.interop.layout import CONFIG, WEIGHTS

__all__ = ["Certificate", "compared", "log_lines"]

PARTS = {"networks": "weights", "ema": "averages", "adam": "moments"}
MEAN = "w_mean"  # of the styles of F
Losses = Mapping[tuple[int, int], Mapping[str, float]]
"""Mean losses by the images between which they were taken."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What was replayed, on what, and how far it is from the run."""

    run: str
    """Where the run lies."""
    first: int
    """Images seen by the checkpoint that was gone on from; 0 is the beginning of the run."""
    last: int
    """Images seen by the checkpoint that the replay was compared with."""
    iterations: int
    ranks: int
    verdict: str
    """`bit for bit`, `within` a tolerance, or `differs`."""
    differences: Sequence[str]
    """What is not as the run has it; none if the verdict is not `differs`."""
    distances: Mapping[str, float]
    """Of losses, weights, averages and moments, relative to the run's; 0 is equal in every bit."""
    rows: int
    """Rows of metrics.jsonl that were compared: those that average over what was replayed alone."""
    order: str
    """SHA-256 of the numbers of all images shown, in their order."""
    draws: str
    """SHA-256 of what was drawn for every phase of every iteration: equal on equal instructions."""
    hashes: Mapping[str, Mapping[str, str]]
    """SHA-256 of every file of the run's checkpoints, by the checkpoint's name."""
    data: str
    """Digest of the data set."""
    here: Mapping[str, object]
    """The machine that replayed."""
    there: Mapping[str, object]
    """The machine that trained, as far as the run says."""

    @property
    def holds(self) -> bool:
        """Whether the run is what its config and data set make of its checkpoint."""
        return not self.differences

    def write(self, file: Path) -> None:
        """Writes it as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")


class Circumstances(TypedDict):
    """What a certificate says of the replay beside its result; its fields say what each is."""

    iterations: int
    order: str
    draws: str
    data: str
    ranks: int
    here: Mapping[str, object]
    there: Mapping[str, object]


def compared(
    storage: Storage,
    replay: Storage,
    between: tuple[Checkpoint | None, Checkpoint],
    tolerance: float,
    *,
    exact: bool,
    worked_on: str,
    about: Circumstances,
) -> Certificate:
    """The certificate of a replay that has ended; `about` goes into it as it is.

    With `exact` every bit is demanded, else distances of at most `tolerance`. The networks
    `worked_on` are not the averages in the run's last snapshot but what was made of them, which an
    exact replay has made too.
    """
    start, end = between
    first, last = int(start.state["seen"]) if start else 0, int(end.state["seen"])
    ours, theirs = checkpoints.every(replay)[-1], checkpoints.fetched(storage, end)
    distances, averages = {}, theirs.tensors("ema")
    for part, name in PARTS.items():
        distances[name] = _distance(ours.tensors(part), theirs.tensors(part))
    wanted, found = _losses(storage, first, last), _losses(replay, first, last)
    common = sorted(wanted.keys() & found.keys())
    distances["losses"] = max(
        (_largest_difference(found[row], wanted[row]) for row in common), default=0.0
    )
    differences = [
        f"{name}: {distance:.2g} of the run's apart, {'0' if exact else f'{tolerance:g}'} allowed"
        for name, distance in distances.items()
        if not distance <= (0.0 if exact else tolerance)
    ]
    written, again = ({seen for _, seen in losses} for losses in (wanted, found))
    if unlike := sorted(written ^ again):
        differences.append(f"metrics.jsonl: rows of {', '.join(map(str, unlike))} images")
    if _snapshot_differs(storage, replay, end, averages, worked_on):
        made = f", or {', '.join(worked_on)} not what was made of them" if worked_on else ""
        differences.append(f"the snapshot: it is not the averages of its checkpoint{made}")
    verdict = "bit for bit" if not any(distances.values()) else f"within {tolerance:g}"
    return Certificate(
        run=storage.where, first=first, last=last, verdict="differs" if differences else verdict,
        differences=differences, distances=distances, rows=len(common),
        hashes={c.name: storage.hashes(c.name) for c in between if c}, **about,
    )  # fmt: skip


def log_lines(storage: Storage, name: str) -> list[dict[str, Any]]:
    """The lines of a log of a run, in their order; none if there is no such log."""
    try:
        return [json.loads(line) for line in storage.read(name).decode().splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise CheckpointError(f"{storage.at(name)} has a line that is no JSON: {error}") from error


def _losses(storage: Storage, first: int, last: int) -> Losses:
    """The mean losses of a run's rows between two moments.

    A row averages from the row before it, or from the start of the process that wrote it, which is
    the last one that started below its images: a start drops the rows beyond its own.
    """
    starts = [int(line["seen"]) for line in log_lines(storage, ENVIRONMENT)]
    rows = [row for row in log_lines(storage, METRICS) if "time/stage" in row]
    before, found = 0, {}
    for row in rows:
        seen = int(row["seen"])
        began = max(before, next((s for s in reversed(starts) if s < seen), 0))
        if first < seen <= last:
            found[began, seen] = {k: v for k, v in row.items() if k.startswith("loss/")}
        before = seen
    return found


def _largest_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """The largest relative difference of two rows' losses; infinite if a loss is missing."""
    if ours.keys() != theirs.keys():
        return float("inf")
    pairs = [(value, theirs[tag]) for tag, value in ours.items()]
    return max(abs(a - b) / max(abs(b), 1e-3) for a, b in pairs)


def _distance(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Norm of the difference over that of the run's; infinite where names or shapes differ."""
    if {k: t.shape for k, t in ours.items()} != {k: t.shape for k, t in theirs.items()}:
        return float("inf")
    if all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items()):
        return 0.0
    difference = _norm(t.double() - theirs[name].double() for name, t in ours.items())
    return difference / max(_norm(t.double() for t in theirs.values()), 1e-30)


def _norm(tensors: Iterator[Tensor]) -> float:
    return float(torch.stack([t.norm() for t in tensors]).norm())


def _snapshot_differs(
    storage: Storage,
    replay: Storage,
    end: Checkpoint,
    averages: Mapping[str, Tensor],
    worked_on: str,
) -> bool:
    """Whether the snapshot that a stage ended with is not made of its last checkpoint.

    Networks that were worked on are compared where the replay has left its own.
    """
    stage = int(end.state["stage"])
    if not snapshots.is_done(storage, stage):
        return False
    folder = snapshots.snapshot(storage, stage)
    if json.loads((folder / CONFIG).read_text())["seen"] != end.state["seen"]:
        return False
    found = load_file(folder / WEIGHTS)
    if snapshots.is_done(replay, stage):
        return _distance(found, load_file(snapshots.snapshot(replay, stage) / WEIGHTS)) > 0.0
    made = {f"{letter}." for letter in worked_on} | ({MEAN} if "F" in worked_on else set())
    rest = [
        {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(made))}
        for tensors in (found, averages)
    ]
    return _distance(*rest) > 0.0
