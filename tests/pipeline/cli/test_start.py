"""What a run's processes load when they start: the run waits for it, at every stage and failure."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRAINER = """
import torch
import pipeline.training.trainer
from pipeline.training.engine import joined
from pipeline.training.optimizer import KINDS
from pipeline.config.sections import EngineConfig
from stylealae.config import OptimizerConfig

joined(EngineConfig(), gpu=False)
import deepspeed.runtime.zero.stage3, deepspeed.runtime.zero.stage_1_and_2
for kind in KINDS.values():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = kind([{"params": [p], "owner": ""}], OptimizerConfig())
    optimizer.create_state([p], [""])
    p.grad = torch.ones(3)
    optimizer.step()
    assert bool((p < 1).all())
"""

HEAVY = {"torch", "ray", "deepspeed", "webdataset", "tensorboard"}
CLI = "from pipeline.cli.app import main; main(['{}'], standalone_mode=False)"


@pytest.mark.parametrize(
    ("process", "first", "without"),
    [
        ("the command line", "import pipeline.cli.app", HEAVY),
        ("a config", "import pipeline.config", HEAVY),
        ("the help", CLI.format("--help"), HEAVY),
        ("a command's help", CLI.format("train', '--help"), HEAVY),
        ("a trainer", TRAINER, {"torch._dynamo", "sympy", "pandas", "ray"}),
        ("a launch script", "import pipeline.cli.launching", HEAVY),
        ("the actor", "import pipeline.cluster.coordinator", {"torch", "pandas", "tensorboard"}),
    ],
)
def test_a_process_starts_without(process: str, first: str, without: set[str]) -> None:
    if "cluster" in first:
        pytest.importorskip("ray")
    asked = f"import sys\nprint('LOADED', *sorted({without!r} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", f"{first}\n{asked}"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "LOADED", f"{process} loads what it does not need"
