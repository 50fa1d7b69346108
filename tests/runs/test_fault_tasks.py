"""Lanes of `python -m trials.faults` share out every fault, and each has the same chances."""

import pytest

pytest.importorskip("psutil")
pytest.importorskip("moto")
pytest.importorskip("s3fs")

from trials.faults.kinds import KINDS
from trials.faults.tasks import Tasks


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_each_fault_is_done_so_often_with_the_same_chances_in_whichever_lane(lanes: int) -> None:
    tasks, settings = Tasks(KINDS, 2, seed=7), [""] * lanes
    moments: dict[str, list[float]] = {kind.name: [] for kind in KINDS}
    busy = True
    while busy:
        busy = False
        for lane, setting in enumerate(settings):
            for kind, chance in tasks.take(setting):
                moments[kind.name].append(chance.random())
                settings[lane], busy = kind.setting, True
    alone = Tasks(KINDS, 2, seed=7)
    while piece := alone.take(""):
        for kind, chance in piece:
            moments[kind.name].remove(chance.random())
    assert not any(moments.values())


def test_a_lane_keeps_to_the_setting_of_its_run() -> None:
    tasks = Tasks(KINDS, 1, seed=7)
    first, second = tasks.take(""), tasks.take("")
    assert first[0][0].setting != second[0][0].setting
    assert tasks.take("folder")[0][0].setting == "folder"
