"""A process meets the others, on the device that it was told, and waits for them on the side."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GPU_BOX = """
import torch
torch.cuda.is_available = lambda: True  # all that DeepSpeed asks
torch.cuda.device_count = lambda: 1
"""
CPU_ENGINE = """
from pipeline.engine import Engine, joined
from pipeline.config import parse
from stylealae.family import FAMILIES
cfg = parse("", ["family=gan", "model.hidden=4", "model.critic_hidden=4", "schedule.batch=[2]"])
world = joined(cfg.engine, gpu=False)
Engine(FAMILIES[cfg.family].build(cfg.model, 1), cfg.progress(0), cfg, world)
from deepspeed.accelerator import get_accelerator
print("DEVICE", get_accelerator().device_name())
"""


def ran(script: str) -> subprocess.CompletedProcess[str]:
    """A fresh process: DeepSpeed chooses its device once."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )


def test_a_cpu_engine_stays_on_the_cpu_of_a_machine_with_a_gpu() -> None:
    shown = ran(GPU_BOX + CPU_ENGINE)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "DEVICE cpu"


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
