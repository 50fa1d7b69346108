"""Messages of driver and workers through the coordinator; no Ray is started."""

import pytest

pytest.importorskip("ray")

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
