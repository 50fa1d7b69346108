"""Training, preparing and the command line come to what golden.json says."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.golden.record import Golden
from tests.golden.trajectory import Trajectory

GOLDEN = Golden.read()
ROOT = Path(__file__).resolve().parents[2]


def test_families_sets_and_commands_are_as_recorded() -> None:
    """In a process of its own: in one that has computed other things last bits may differ."""
    command = [sys.executable, "-m", "tests.golden", "check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def other_order(t: Trajectory) -> Trajectory:
    return replace(t, exact={**t.exact, "order": "0"})


def other_loss(t: Trajectory) -> Trajectory:
    tag, values = next(iter(t.early.items()))
    return replace(t, early={**t.early, tag: [values[0] * 1.01, *values[1:]]})


def other_weights(t: Trajectory) -> Trajectory:
    return replace(t, norms={**t.norms, "networks": t.norms["networks"] * 1.02})


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
