"""The record: golden.json, what it is made of, and what differs from it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from pipeline.cli.app import main as stylealae
from pipeline.training.environment import kernels
from pipeline.world import World
from tests.golden.cases import CASES, config
from tests.golden.trajectory import Trajectory, trajectory

__all__ = ["GOLDEN", "Golden", "commands", "digests", "trained"]

GOLDEN = Path(__file__).with_name("golden.json")
EXACT = "digits"
"""The prepared set that is made of integers, and so the same on every processor."""


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What was recorded, and where."""

    kernels: dict[str, str]
    """What decided how sums were rounded."""
    commands: list[str]
    """Names of the command line."""
    data: dict[str, dict[str, str]]
    """SHA-256 of the files of the prepared sets, by set and name."""
    trajectories: dict[str, Trajectory]
    """By family."""

    @classmethod
    def read(cls) -> "Golden":
        """The record in the repository."""
        found = json.loads(GOLDEN.read_text())
        return cls(**{**found, "trajectories": {
            name: Trajectory(**t) for name, t in found["trajectories"].items()
        }})  # fmt: skip

    @classmethod
    def now(cls, data: Path, runs: Path, world: World, said: Callable[[str], None]) -> "Golden":
        """The same of the tree at hand; says which family it trains."""
        found = {}
        for family in CASES:
            said(family)
            found[family] = trained(family, data, runs, world)
        return cls(kernels=kernels(), commands=commands(), data=digests(data), trajectories=found)

    def write(self) -> None:
        """Puts it in the place of the record."""
        GOLDEN.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def differences(self, golden: "Golden") -> list[str]:
        """What is not as recorded: to the bit where the kernels are the same."""
        bitwise = self.kernels == golden.kernels
        found = [] if self.commands == golden.commands else ["the commands"]
        found += data_differences(self.data, golden, bitwise=bitwise)
        for family, t in self.trajectories.items():
            if family not in golden.trajectories:
                found.append(f"{family}: it is not in the record")
                continue
            told = t.differences(golden.trajectories[family], bitwise=bitwise)
            found += [f"{family}: {difference}" for difference in told]
        return found


def commands() -> list[str]:
    """Names of the command line, in their order."""
    return list(stylealae.commands)


def digests(data: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of the manifest and the tars of the prepared sets."""
    return {
        folder.name: {
            file.relative_to(folder / "set").as_posix(): sha256(file.read_bytes()).hexdigest()
            for file in (folder / "set/manifest.json", *sorted(folder.glob("set/r*/*.tar")))
        }
        for folder in sorted(data.iterdir())
    }


def data_differences(
    data: dict[str, dict[str, str]], golden: Golden, *, bitwise: bool
) -> list[str]:
    """The sets whose bytes are not as recorded; of rendered faces elsewhere the files' names."""
    return [
        f"the files of {name}"
        for name, files in data.items()
        if (files if bitwise or name == EXACT else [*files])
        != (golden.data[name] if bitwise or name == EXACT else [*golden.data[name]])
    ]


def trained(family: str, data: Path, runs: Path, world: World) -> Trajectory:
    """The trajectory of a family's run in miniature."""
    return trajectory(config(family, data, runs / family), world)
