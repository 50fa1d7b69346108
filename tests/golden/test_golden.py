"""Training, preparing and the command line come to what golden.json says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.training.environment import kernels
from pipeline.world import World
from tests.golden.cases import CASES, write_data
from tests.golden.record import Golden, commands, data_differences, digests, trained
from tests.golden.trajectory import Trajectory

GOLDEN = Golden.read()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("golden") / "data")


@pytest.mark.parametrize("family", CASES)
def test_a_family_trains_as_it_did(family: str, data: Path, world: World, tmp_path: Path) -> None:
    bitwise = kernels() == GOLDEN.kernels
    now = trained(family, data, tmp_path, world)
    assert now.differences(GOLDEN.trajectories[family], bitwise=bitwise) == []


def test_prepared_sets_have_the_bytes_that_they_had(data: Path, world: World) -> None:
    bitwise = kernels() == GOLDEN.kernels
    assert data_differences(digests(data), GOLDEN, bitwise=bitwise) == []


def test_no_command_comes_or_goes_unnoticed() -> None:
    assert commands() == GOLDEN.commands


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
