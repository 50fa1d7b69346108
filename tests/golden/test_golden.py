"""Training, preparing and the command line come to what golden.json says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pipeline.world import World
from tests.golden.cases import write_data
from tests.golden.record import Golden
from tests.golden.trajectory import Trajectory
from tests.ranks import run_ranks

GOLDEN = Golden.read()


def found(world: World) -> list[str]:
    """What is not as recorded, in a process that has computed nothing else."""
    with TemporaryDirectory() as scratch:
        data = write_data(Path(scratch, "data"))
        return Golden.now(data, Path(scratch, "runs"), world, print).differences(GOLDEN)


@pytest.mark.early
def test_families_sets_and_commands_are_as_recorded(tmp_path: Path) -> None:
    assert run_ranks(1, found, tmp_path) == [[]]


def other_order(t: Trajectory) -> Trajectory:
    return replace(t, exact={**t.exact, "order": "0"})


def other_loss(t: Trajectory) -> Trajectory:
    tag, values = next(iter(t.early.items()))
    return replace(t, early={**t.early, tag: [values[0] * 1.01, *values[1:]]})


def other_weights(t: Trajectory) -> Trajectory:
    return replace(t, norms={**t.norms, "networks": t.norms["networks"] * 1.06})


def without_a_loss(t: Trajectory) -> Trajectory:
    return replace(t, early=dict([*t.early.items()][1:]))


@pytest.mark.parametrize("spoil", [other_order, other_loss, other_weights, without_a_loss])
def test_by_tolerance_another_trajectory_is_found(
    spoil: Callable[[Trajectory], Trajectory],
) -> None:
    golden = GOLDEN.trajectories["aae"]
    assert golden.differences(golden, bitwise=True) == []
    assert len(spoil(golden).differences(golden, bitwise=False)) == 1


def test_to_the_bit_every_hash_counts() -> None:
    golden = GOLDEN.trajectories["vae"]
    other = replace(golden, exact={name: "0" for name in golden.exact})
    assert len(other.differences(golden, bitwise=True)) == len(golden.exact) == 5
