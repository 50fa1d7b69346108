"""A Ray job whose worker, driver and controller are killed in turn ends as if nothing was.

Checked against the same training by two processes without Ray, left alone: every tensor of the last
checkpoint, bit for bit.  `make faults` kills the rest: hosts, heads, Ray's own processes, uploads.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from launch.demo import main as demo
from pipeline.config import load
from pipeline.config.packaged import packaged
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training.checkpoints import latest
from pipeline.training.trainer import train_stages
from pipeline.world import World
from tests.ranks import run_ranks

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.early]

ROOT = Path(__file__).resolve().parents[2]
FACES, STAGE_IMG = 64, 640
CONFIG = [
    "cluster.workers=[2]",
    "cluster.cpus_per_worker=1",
    "engine.threads=1",
    "model.resolution=8",
    "model.max_channels=16",
    "loss.prior_img=0",
    "loss.recover_img=0",
    f"schedule.stage_img=[{STAGE_IMG},{STAGE_IMG}]",
    "checkpoint.every_img=160",
    "log.scalars_img=80",
    "log.grid_img=100000",
]


def words(run_dir: Path, data: Path) -> list[str]:
    """What is typed, the same every time."""
    places = [f"run_dir={run_dir}", f"data.path={data}", f"log.batches={run_dir}-batches"]
    return [f"faces={FACES}", *CONFIG, *places]


def started(run_dir: Path, data: Path) -> subprocess.Popen[str]:
    """The command under test."""
    return subprocess.Popen(
        [sys.executable, "launch/demo.py", *words(run_dir, data)],
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


def kill_one(job: subprocess.Popen[str], name: str, there: int) -> None:
    """Kills, with -9, one of so many processes of a name below the job's own Ray."""
    found = [
        p for p in psutil.Process(job.pid).children(recursive=True) if name in " ".join(p.cmdline())
    ]
    assert len(found) == there
    found[0].send_signal(signal.SIGKILL)


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


def trained(world: World, run_dir: str, data: str) -> bool:
    """All of the run, without Ray."""
    cfg = load(packaged("demo"), [*CONFIG, f"run_dir={run_dir}", f"data.path={data}"])
    storage = open_storage(run_dir)
    return train_stages(cfg, cfg.stages, world, storage, fence_of=lambda _: None)


def tensors(run_dir: Path) -> dict[str, torch.Tensor]:
    found = latest(open_storage(run_dir))
    assert found is not None
    assert found.state["seen"] == 2 * STAGE_IMG
    parts = ("networks", "ema", "adam")
    return {f"{part}/{k}": v for part in parts for k, v in found.tensors(part).items()}


def trainers_of(batches: Path, seen: range) -> set[str]:
    """The processes that took a batch while so many images had been shown."""
    return {
        file.name.split("-")[3]
        for file in batches.iterdir()
        for line in file.read_text().splitlines()
        if json.loads(line)["seen"] in seen
    }


def held(name: str) -> bool:
    """Whether a process that lives uses this shared memory: another run's, maybe."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(name in Path(m.path).name for m in process.memory_maps()) or any(
                name in link for link in map(os.readlink, Path(f"/proc/{process.pid}/fd").iterdir())
            ):
                return True
    return False


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = set(os.listdir("/dev/shm"))
    out = tmp_path_factory.mktemp("data") / "faces"
    prepare(open_source(str(FACES), "rendered"), out, (4, 8), workers=1)
    yield out
    time.sleep(1)
    assert not [name for name in os.listdir("/dev/shm") if name not in before and not held(name)]


def test_killed_anywhere_the_same_command_gives_the_same_weights(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    assert run_ranks(2, trained, tmp_path, given=(str(alone), str(data))) == [True, True]

    job = started(killed, data)
    wait_for(job, STAGE_IMG // 4)
    kill_one(job, "RayTrainWorker", 2)  # Ray Train starts a new group by itself
    wait_for(job, STAGE_IMG + STAGE_IMG // 4)
    kill_driver(job)
    first, second = (
        trainers_of(tmp_path / "killed-batches", range(*stage))
        for stage in ((STAGE_IMG // 2, STAGE_IMG), (STAGE_IMG, 2 * STAGE_IMG))
    )
    assert len(second) == 2
    assert second <= first  # the same two processes trained both stages
    job = started(killed, data)
    wait_for(job, STAGE_IMG)
    kill_one(job, "TrainController", 1)  # the driver begins another round, and finds room for it
    out, _ = job.communicate(timeout=1200)
    assert job.returncode == 0, out
    assert "snapshot" in out
    said = f"complete after {2 * STAGE_IMG:,} images"
    assert said in (killed / "report.html").read_text()

    left_alone, survived = tensors(alone), tensors(killed)
    assert left_alone.keys() == survived.keys()
    different = [k for k, v in left_alone.items() if not torch.equal(v, survived[k])]
    assert not different

    demo(words(killed, data))
    assert "this run is complete" in capsys.readouterr().out
