"""A process meets the others, on the device that it was told, and waits for them on the side."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pipeline.world import World
from tests.ranks import run_ranks

ROOT = Path(__file__).resolve().parents[2]
GPU_BOX = """
import torch
torch.cuda.is_available = lambda: True  # all that DeepSpeed asks
torch.cuda.device_count = lambda: 1
"""
CPU_ENGINE = """
import atexit
import tempfile
import torch.distributed as dist
atexit.register(lambda: print("GROUP", dist.is_initialized()))  # after what is registered later
from pipeline.config import parse
from pipeline.storage import open_storage
from pipeline.training.async_checkpoint import Saver
from pipeline.training.engine import Engine
from pipeline.world import joined
from stylealae.families import FAMILIES
cfg = parse("", ["family=gan", "model.hidden=4", "schedule.batch=[2]", "engine.offload=true"])
world = joined(cfg.engine, gpu=False)
engine = Engine(FAMILIES[cfg.family].build(cfg.model, 1), cfg.progress(0), cfg, world)
with tempfile.TemporaryDirectory() as folder:
    saver = Saver(open_storage(folder), cfg.checkpoint, world)
    saver.save({"adam": engine.state_dict()}, {"stage": 0, "seen": 0})
    saver.finish()
from deepspeed.accelerator import get_accelerator
print("DEVICE", get_accelerator().device_name())
"""


def ran(script: str) -> subprocess.CompletedProcess[str]:
    """A fresh process: DeepSpeed chooses its device once."""
    fresh = {name: value for name, value in os.environ.items() if name != "DS_ACCELERATOR"}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=fresh, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What an engine on the CPU prints on a machine with a GPU."""
    shown = ran(GPU_BOX + CPU_ENGINE)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.splitlines()


def test_a_cpu_engine_stays_on_the_cpu_of_a_machine_with_a_gpu(lines: list[str]) -> None:
    assert "DEVICE cpu" in lines


def test_a_process_that_trains_alone_ends_its_group_at_exit(lines: list[str]) -> None:
    assert lines[-1] == "GROUP False"


def test_deepspeed_that_was_loaded_for_another_device_is_refused() -> None:
    shown = ran(GPU_BOX + "import deepspeed\n" + CPU_ENGINE)
    assert shown.returncode != 0
    assert "ConfigError: DeepSpeed was imported before, for the device cuda" in shown.stderr


def test_a_worker_without_the_gpu_that_it_was_promised_stops() -> None:
    shown = ran(
        "import torch\ntorch.cuda.is_available = lambda: False\n"
        + CPU_ENGINE.replace("gpu=False", "gpu=True")
    )
    assert shown.returncode != 0
    assert "ConfigError: cluster.gpus_per_worker is 1 and this process finds no GPU" in shown.stderr


def retrying(world: World) -> list[list[float]]:
    """Rank 0 is at its storage for longer than a collective may take."""
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=1))
    if world.rank == 0:
        time.sleep(3)
    rank = float(world.rank)
    told = [[float(world.any(world.rank == 1))], world.mean([rank, 1.0]), world.each(rank)]
    told.append(world.first([2.0**53 - 1.0 - rank, 0.1 + rank]))
    dist.distributed_c10d._set_pg_timeout(timedelta(minutes=5))
    return [*told, world.sum(torch.tensor([rank])).tolist()]


def test_flags_and_means_wait_for_longer_than_a_step_may_take(tmp_path: Path) -> None:
    for told in run_ranks(2, retrying, tmp_path):
        assert told == [[1.0], [0.5, 1.0], [0.0, 1.0], [2.0**53 - 1.0, 0.1], [1.0]]


def configured(world: World) -> list[float]:
    """How long collectives may take in all groups there are, DeepSpeed's too."""
    from pipeline.config import parse
    from pipeline.training.engine import Engine
    from stylealae.families import FAMILIES

    cfg = parse("", ["family=gan", "model.hidden=4", "schedule.batch=[2]", "engine.zero_stage=2"])
    Engine(FAMILIES[cfg.family].build(cfg.model, 1), cfg.progress(0), cfg, world)
    groups = dist.distributed_c10d._world.pg_map
    return sorted(g._get_backend(world.device).options._timeout.total_seconds() for g in groups)


def test_a_step_waits_as_long_as_the_config_says(tmp_path: Path) -> None:
    assert run_ranks(2, configured, tmp_path) == [[600.0, 600.0, 86400.0]] * 2


def test_processes_that_do_not_meet_are_a_sentence() -> None:
    script = """
from pipeline.config.sections import EngineConfig
from pipeline.world import joined
from stylealae.errors import ConfigError
try:
    joined(EngineConfig(timeout_s=2), gpu=False)
except ConfigError as error:
    print(error)
"""
    place = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    shown = ran(f"import os\nos.environ |= {place}\n{script}")
    said = "the 2 processes that WORLD_SIZE names do not meet at 127.0.0.1:0 within 2 s"
    assert shown.stdout.startswith(said), shown.stderr
