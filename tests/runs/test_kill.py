"""A two-worker Ray job that is killed again and again ends as if nothing had happened.

Checked against the same job left alone: every tensor of the last checkpoint, bit for bit.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
CONFIG = [
    "faces=64",
    "cluster.workers=[2]",
    "cluster.cpus_per_worker=1",
    "model.resolution=8",
    "model.max_channels=32",
    "schedule.stage_img=[2560,2560]",
    "checkpoint.every_img=320",
    "log.scalars_img=160",
    "log.grid_img=100000",
]


def started(run_dir: Path, data: Path, *keys: str) -> subprocess.Popen[str]:
    """The command under test, the same every time."""
    places = [f"run_dir={run_dir}", f"data.path={data}"]
    return subprocess.Popen(
        [sys.executable, "launch/demo.py", *CONFIG, *places, *keys],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(job: subprocess.Popen[str], seen: int) -> None:
    """Reads the job's progress until it has shown so many images."""
    assert job.stdout is not None
    heard = []
    for line in job.stdout:
        heard.append(line)
        shown = re.search(r"([\d,]+) of [\d,]+ images", line)
        if shown and int(shown[1].replace(",", "")) >= seen:
            return
    pytest.fail(f"the job ended before {seen} images:\n{''.join(heard)}")


def kill_worker(job: subprocess.Popen[str]) -> None:
    """Kills, with -9, one of the trainer processes below the job's own Ray."""
    workers = [
        p
        for p in psutil.Process(job.pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(p.cmdline())
    ]
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)


def kill_driver(job: subprocess.Popen[str]) -> None:
    """Kills the driver with -9; what it had started must go by itself or hold nothing."""
    below = psutil.Process(job.pid).children(recursive=True)
    job.kill()
    job.wait()
    until, alive = time.monotonic() + 60, below
    while any(not idle_agent(p) for p in alive):
        assert time.monotonic() < until, [p.cmdline() for p in alive]
        _, alive = psutil.wait_procs(alive, timeout=1)
    for p in alive:  # Ray's idle agents outlive their raylet for a while
        p.kill()


def idle_agent(process: psutil.Process) -> bool:
    """Whether this is one of Ray's agents, or no process any more."""
    try:
        return "agent" in " ".join(process.cmdline()).lower()
    except psutil.NoSuchProcess:
        return True


def tensors(run_dir: Path) -> dict[str, torch.Tensor]:
    from pipeline.storage import open_storage
    from pipeline.training.checkpoints import latest

    found = latest(open_storage(run_dir))
    assert found is not None
    assert found.state["seen"] == 5120
    parts = ("networks", "ema", "adam")
    return {f"{part}/{k}": v for part in parts for k, v in found.tensors(part).items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = set(os.listdir("/dev/shm"))
    yield tmp_path_factory.mktemp("data") / "faces"
    time.sleep(1)
    assert set(os.listdir("/dev/shm")) <= before


def test_killed_anywhere_the_same_command_gives_the_same_weights(tmp_path: Path, data: Path):
    alone = started(tmp_path / "alone", data, f"log.batches={tmp_path / 'batches'}")
    out, _ = alone.communicate(timeout=1200)
    assert alone.returncode == 0, out
    assert "snapshot" in out
    trainers = {file.name.split("-")[3] for file in (tmp_path / "batches").iterdir()}
    assert len(trainers) == 2  # the same two processes trained both stages
    assert "complete after 5,120 images" in (tmp_path / "alone" / "report.html").read_text()

    killed = tmp_path / "killed"
    job = started(killed, data)
    wait_for(job, 960)
    kill_worker(job)  # Ray Train starts a new group by itself
    wait_for(job, 3200)
    kill_driver(job)
    job = started(killed, data)
    wait_for(job, 4160)
    kill_worker(job)
    out, _ = job.communicate(timeout=1200)
    assert job.returncode == 0, out

    left_alone, survived = tensors(tmp_path / "alone"), tensors(killed)
    assert left_alone.keys() == survived.keys()
    different = [k for k, v in left_alone.items() if not torch.equal(v, survived[k])]
    assert not different

    again = started(killed, data)
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0
    assert "complete" in out
