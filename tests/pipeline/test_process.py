"""Threads that wait for each other sleep where others want the cores."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.process import share_cores

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
