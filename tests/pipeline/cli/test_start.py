"""What a run's processes load when they start: the run waits for it, at every stage and failure."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRAINER = """
import torch
import pipeline.training.trainer
from pipeline.config import parse
from pipeline.training.engine import Engine
from pipeline.world import joined
from stylealae.families import FAMILIES

for zero, kind in ((0, "adam"), (1, "sgd"), (2, "adam")):  # ZeRO 3 loads it in its first step
    tiny = ["family=gan", "model.hidden=4", "model.critic_hidden=4", "schedule.batch=[2]"]
    cfg = parse("", [*tiny, f"optimizer.kind={kind}", f"engine.zero_stage={zero}"])
    world, family, at = joined(cfg.engine, gpu=False), FAMILIES[cfg.family], cfg.progress(0)
    nets = family.build(cfg.model, 1)
    nobody = (torch.zeros(0, 1, 32, 32), torch.zeros(0))
    sampler = family.sampler(
        cfg.model, cfg.loss, seed=0, mine=slice(0, 2), device=world.device, labelled=nobody
    )
    engine = Engine(nets, at, cfg, world)
    for phase in family.phases(cfg.loss, 0):
        loss = engine.step(phase, torch.zeros(2, 1, 32, 32), sampler.draw(phase.name, 0, at), at)
        assert bool(loss.isfinite())
    engine.close()
"""

DRIVER = """
import pipeline.cli.beginning, pipeline.cli.console, pipeline.cluster.connection
import pipeline.cluster.driver, pipeline.data.format.manifest, pipeline.training.same_run
from pipeline.training.snapshots import snapshot
"""
HEAVY = {"torch", "ray", "deepspeed", "webdataset", "tensorboard"}
WORKER = """
from pathlib import Path
from tempfile import TemporaryDirectory
from pipeline.data.prepare.processes import over_processes
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source

with TemporaryDirectory() as folder:
    prepare(open_source("tests/cases/align/al"), Path(folder), (4,), workers=1)
"""
CLI = "from pipeline.cli.app import main; main(['{}'], standalone_mode=False)"


@pytest.mark.parametrize(
    ("process", "first", "without"),
    [
        ("the command line", "import pipeline.cli.app", HEAVY),
        ("a config", "import pipeline.config", HEAVY),
        ("the help", CLI.format("--help"), HEAVY),
        ("a command's help", CLI.format("train', '--help"), HEAVY),
        ("a trainer", TRAINER, {"torch._dynamo", "sympy", "pandas", "ray"}),
        ("a worker of prepare", WORKER, HEAVY),
        ("a launch script", "import pipeline.cli.launching", HEAVY),
        ("the actor", "import pipeline.cluster.coordinator", {"torch", "pandas", "tensorboard"}),
        ("the driver", DRIVER, {"torch", "deepspeed", "tensorboard"}),
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
