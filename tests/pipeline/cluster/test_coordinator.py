"""Messages of driver and workers through the coordinator; no Ray is started."""

import pytest

pytest.importorskip("ray")

from pipeline.cluster.coordinator import Coordinator


def test_the_rank_that_writes_knows_the_reason_best() -> None:
    coordinator = Coordinator()
    group = coordinator.begin_group()
    coordinator.fail_run(group, 1, "saving failed: see rank 0")
    coordinator.fail_run(group, 0, "no space left")
    assert coordinator.failure() == "no space left"
    coordinator.begin_group()
    coordinator.fail_run(group, 0, "of a group before")
    assert coordinator.failure() == "no space left"
