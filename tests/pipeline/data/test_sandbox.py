"""Work in a child process ends, whatever it is given, and the next file is read."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from pipeline.data.sandbox import Sandbox
from stylealae.errors import DataError


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    found = Sandbox(2, limit_s=1.0, memory_mib=256)
    yield found
    found.close()


def test_work_is_done_elsewhere_and_its_process_serves_the_next(sandbox: Sandbox) -> None:
    assert sandbox.do(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
    pids = {sandbox.do(os.getpid) for _ in range(4)}
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_what_takes_too_long_is_ended(sandbox: Sandbox) -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match="more than 1 seconds"):
        sandbox.do(time.sleep, 60)
    assert time.monotonic() - began < 30  # a starved machine starts a process meanwhile
    assert sandbox.do(len, "abc") == 3


def test_what_takes_too_much_memory_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(DataError, match="more than 256 MiB"):
        sandbox.do(bytes, 1 << 30)
    assert len(sandbox.do(bytes, 1 << 20)) == 1 << 20


def test_what_ends_its_process_is_a_sentence(sandbox: Sandbox) -> None:
    with pytest.raises(DataError, match="damaged"):
        sandbox.do(signal.raise_signal, signal.SIGSEGV)
    with pytest.raises(DataError, match="ValueError"):
        sandbox.do(int, "x")
    assert sandbox.do(len, "abc") == 3


def test_a_slow_file_delays_nobody(sandbox: Sandbox) -> None:
    for _ in range(2):  # both processes are there
        sandbox.do(len, "")
    errors: list[Exception] = []

    def slow() -> None:
        try:
            sandbox.do(time.sleep, 60)
        except DataError as error:
            errors.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    time.sleep(0.1)
    assert sandbox.do(len, "abc") == 3
    assert not errors
    thread.join()
    assert errors


def test_a_process_that_ended_while_idle_is_no_fault_of_the_next_file(sandbox: Sandbox) -> None:
    for pid in {sandbox.do(os.getpid) for _ in range(4)}:
        os.kill(pid, signal.SIGKILL)
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    assert [sandbox.do(len, "abc") for _ in range(4)] == [3] * 4
