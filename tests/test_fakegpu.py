"""The short form of `make fakegpu`, in a process of its own: torch must not know of GPUs before."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakegpu.device import compiler

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not compiler(), reason="no C++ compiler is here to build the device with"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fakegpu", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip


def test_iterations_run_on_a_gpu_that_is_not_there_and_nothing_has_grown() -> None:
    done = run("--quick")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert " 0 wrong" in done.stdout
