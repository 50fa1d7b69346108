"""Threads that wait for each other sleep where others want the cores."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.process import Place, place_of_torchrun, share_cores
from stylealae.errors import ConfigError

POLICY = "OMP_WAIT_POLICY"


@pytest.fixture
def busy_host() -> Iterator[None]:
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("busy_host")
def test_a_training_on_a_busy_host_shares_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POLICY, raising=False)
    share_cores(training=True)
    assert os.environ[POLICY] == "PASSIVE"


def test_work_that_has_just_ended_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POLICY, raising=False)
    shares = iter([90.0, 60.0, 5.0])
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: next(shares))
    share_cores(training=True)
    assert POLICY not in os.environ


def test_a_tool_shares_them_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POLICY, raising=False)
    share_cores(training=False)
    assert os.environ[POLICY] == "PASSIVE"


@pytest.mark.parametrize("training", [True, False])
def test_what_the_user_has_set_stays(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POLICY, "ACTIVE")
    share_cores(training=training)
    assert os.environ[POLICY] == "ACTIVE"


RANKS = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"


def started_with(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Place:
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return place_of_torchrun()


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place(0, 1, 0)),
        ({"RANK": "", "WORLD_SIZE": " ", "LOCAL_RANK": ""}, Place(0, 1, 0)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, Place(0, 1, 0)),
        (dict(zip(RANKS, ("5", "8", "1", "there", "29500"), strict=True)), Place(5, 8, 1)),
    ],
)
def test_a_place_is_the_one_that_torchrun_gave(
    environment: dict[str, str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert started_with(monkeypatch, environment) == place


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4 .* RANK and MASTER_ADDR and MASTER_PORT are miss"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "there"}, "MASTER_PORT is missing"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two' in the environment, and a number"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'"),
        ({"RANK": "1"}, "RANK is 1 and WORLD_SIZE 1 in the environment"),
    ],
)
def test_what_is_left_of_another_start_is_refused(
    environment: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=f"{says}.*unset RANK WORLD_SIZE LOCAL_RANK"):
        started_with(monkeypatch, environment)
