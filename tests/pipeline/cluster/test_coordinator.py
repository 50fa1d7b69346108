"""Messages of driver and workers through the coordinator; no Ray is started."""

import pytest

pytest.importorskip("ray")

from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup

from pipeline.cluster.coordinator import Coordinator


def test_the_rank_that_writes_knows_the_reason_best() -> None:
    coordinator = Coordinator()
    group = coordinator.begin_attempt()
    coordinator.fail_run(group, 1, "saving failed: see rank 0")
    coordinator.fail_run(group, 0, "no space left")
    assert coordinator.failure() == "no space left"
    coordinator.begin_attempt()
    coordinator.fail_run(group, 0, "of a group before")
    assert coordinator.failure() == "no space left"


def test_every_rank_of_a_group_is_heard_before_its_first_stage() -> None:
    """Rank 8 finds no GPU; a rank of the group before is back, as its host was cut off."""
    first, second = (PlacementGroup(PlacementGroupID.from_random()) for _ in range(2))
    coordinator = Coordinator()
    assert coordinator.attempt_of(first.id.hex()) == 0
    coordinator.begin_group(first)
    before = coordinator.attempt_of(first.id.hex())
    coordinator.begin_group(second)
    for late in (before, coordinator.attempt_of(first.id.hex())):
        coordinator.fail_run(late, 0, "of the group before")
    assert coordinator.failure() == ""
    coordinator.fail_run(coordinator.attempt_of(second.id.hex()), 8, "finds no GPU")
    assert coordinator.failure() == "finds no GPU"


def test_an_error_of_any_rank_before_the_first_stage_is_not_tried_for_ever() -> None:
    coordinator, told = Coordinator(), []
    for _ in range(2):
        reservation = PlacementGroup(PlacementGroupID.from_random())
        coordinator.begin_group(reservation)
        coordinator.worker_crashed(
            coordinator.attempt_of(reservation.id.hex()), "ImportError", "no cuda"
        )
        told.append(coordinator.group_failed(lost=False))
    assert told[0] == ""
    assert "twice in a row in the same place (ImportError)" in told[1]


def test_a_stop_that_comes_as_a_round_begins_is_not_forgotten() -> None:
    coordinator = Coordinator()
    coordinator.end_round()
    assert coordinator.stopping()
    coordinator.begin_round()
    assert not coordinator.stopping(), "what ended one round does not end the next"
    coordinator.stop()
    coordinator.begin_round()
    assert coordinator.stopping()


def test_the_controller_is_told_when_no_other_group_can_do_better() -> None:
    coordinator = Coordinator()
    told = []
    for _ in range(2):
        group = coordinator.begin_attempt()
        coordinator.worker_crashed(group, "ValueError after 640 images", "ValueError: bad")
        told.append(coordinator.group_failed(lost=False))
    assert told[0] == ""
    assert "twice in a row in the same place (ValueError after 640 images)" in told[1]

    coordinator = Coordinator()
    coordinator.fail_run(coordinator.begin_attempt(), 0, "no space left")
    assert coordinator.group_failed(lost=False) == "no space left"
