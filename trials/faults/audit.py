"""What a run shows of itself from outside: its steps, its checkpoints, the images of every batch.

Steps and images come from the files that `log.batches` makes every worker write; checkpoints from
their manifests, which hold the hash of every file.
"""

import json
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

Hashes = Mapping[str, str]


@dataclass
class Attempt:
    """One worker's file: what it was shown, line by line."""

    file: Path
    rank: int
    size: int
    shown: dict[int, list[int]] = field(default_factory=dict)
    read: int = 0

    @property
    def first(self) -> int:
        """Images seen before its first batch."""
        return next(iter(self.shown))

    @property
    def last(self) -> int:
        """Images seen before its newest batch."""
        return next(reversed(self.shown))

    def update(self) -> None:
        """Reads the lines that are new."""
        with self.file.open("rb") as stream:
            stream.seek(self.read)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self.read += len(line)
                row = json.loads(line)
                self.shown[row["seen"]] = row["ids"]


class Steps:
    """The batches that all attempts at a run were shown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.attempts: dict[str, Attempt] = {}

    def update(self) -> None:
        """Looks for new lines."""
        for file in sorted(self.folder.glob("*.jsonl")):
            if file.name not in self.attempts:
                rank, _, size = file.name.split("-")[:3]
                self.attempts[file.name] = Attempt(file, int(rank), int(size))
            self.attempts[file.name].update()

    @property
    def begun(self) -> list[Attempt]:
        """Rank zero's attempts that have made a step, in the order in which they were noticed."""
        return [a for a in self.attempts.values() if a.rank == 0 and a.shown]

    @property
    def seen(self) -> int:
        """The newest batch of all."""
        return max((a.last for a in self.begun), default=-1)

    def global_batches(self) -> tuple[dict[int, list[int]], list[str]]:
        """Ids by images seen of every batch that all ranks were shown, and contradictions."""
        pieces: dict[tuple[int, int], dict[int, list[int]]] = {}
        problems = []
        for a in self.attempts.values():
            for seen, ids in a.shown.items():
                known = pieces.setdefault((seen, a.size), {}).setdefault(a.rank, ids)
                if known != ids:
                    problems.append(f"rank {a.rank} of {a.size} saw two batches at {seen}")
        whole: dict[int, list[int]] = {}
        for (seen, size), by_rank in sorted(pieces.items()):
            if len(by_rank) < size:
                continue
            ids = [i for rank in range(size) for i in by_rank[rank]]
            if whole.setdefault(seen, ids) != ids:
                problems.append(f"another batch at {seen} with {size} workers")
        return whole, problems


@dataclass(frozen=True)
class Recovery:
    """What a fault cost."""

    next_step_s: float
    lost_img: int
    resumed: bool
    """Whether an attempt of its own took over; False if the same one went on."""


class Watch:
    """Notes when the step after a fault comes."""

    def __init__(self, steps: Steps, batch: int, *, passes: bool = False) -> None:
        """From now on.

        Args:
            steps: of the run.
            batch: images of a step.
            passes: whether the run may just go on, when the fault is over, without a new attempt.
        """
        steps.update()
        self.steps, self.batch, self.passes = steps, batch, passes
        self.since = time.monotonic()
        self.before = set(steps.attempts)
        self.seen = steps.seen

    def restart(self) -> None:
        """Only now the fault is over: time and steps count from here."""
        self.steps.update()
        self.since, self.seen = time.monotonic(), self.steps.seen

    def recovery(self) -> Recovery | None:
        """What it cost, once a step was made in spite of the fault."""
        self.steps.update()
        after = [a for a in self.steps.begun if a.file.name not in self.before]
        took = time.monotonic() - self.since
        if after:
            old = [a.last for a in self.steps.begun if a.file.name in self.before]
            lost = max(0, max(old) + self.batch - after[0].first) if old else 0
            return Recovery(took, lost, resumed=True)
        # More than what was under way; what is about to die makes steps to its end.
        if self.passes and self.steps.seen > self.seen + 2 * self.batch:
            return Recovery(took, 0, resumed=False)
        return None


def checkpoints(run_dir: Path, known: Container[int] = ()) -> dict[int, Hashes]:
    """Hashes of the tensors' files by images seen, of every published checkpoint not yet known."""
    found = {}
    for manifest in run_dir.glob("[0-9]*/seen-*/manifest.json"):
        with suppress(OSError, ValueError):  # pruned while it was being read
            seen = int(manifest.parent.name.removeprefix("seen-"))
            if seen not in known:
                found[seen] = hashes_of(manifest.read_bytes())
    return found


def hashes_of(manifest: bytes) -> Hashes:
    """Those of the tensors' files; the others tell the run's folder and the versions."""
    hashes = json.loads(manifest)["sha256"]
    return {Path(k).name: v for k, v in hashes.items() if k.endswith(".safetensors")}


def differences(theirs: Mapping[int, Hashes], reference: Mapping[int, Hashes]) -> list[str]:
    """Where checkpoints are not those of the reference, bit for bit."""
    return [
        f"{name} after {seen:,} images"
        for seen, hashes in sorted(theirs.items())
        for name, digest in hashes.items()
        if reference.get(seen, {}).get(name) != digest
    ]
