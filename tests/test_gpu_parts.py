"""The parts of `python -m tests.gpu` in their quick form on the CPU, so that they start on a GPU.

Here they share this process; the runner is tried on a part that takes a moment.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.world import World
from stylealae.ops.compiler import fuse
from tests.fakegpu.device import compiler
from tests.gpu.ranks import weights_after
from tests.gpu.runner import PARTS
from tests.gpu.setting import Setting, rows_of

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
HERE = [part.name for part in PARTS if not part.faked and part.name != "ranks"]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", HERE)
def test_a_part_runs_and_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    try:
        found = list(rows_of(name, "cpu", tmp_path, quick=True))
    finally:
        fuse("off")
    assert found
    assert not [row["wrong"] for row in found if row["wrong"]]
    assert [row for row in found if row["numbers"]]
    json.dumps(found)


def test_a_rank_of_one_trains(world: World, tmp_path: Path) -> None:
    s = Setting(torch.device("cpu"), True, tmp_path)
    one, other = (weights_after(s, zero, world) for zero in (0, 1))
    assert torch.equal(one, other)
    assert one.isfinite().all()


@pytest.mark.skipif(not compiler(), reason="no C++ compiler is here to build the device with")
def test_the_runner_ends_what_takes_too_long_and_says_what_it_found(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.gpu", "--quick", "--on", "cpu", "--out", str(out)]
    done = subprocess.run(
        [*command, "--only", "card", "--patience", "9"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (card,) = json.loads(out.read_text())["parts"]
    assert "bandwidth, GB/s" in [row["what"] for row in card["rows"]]
    late = subprocess.run(
        [*command, "--only", "ranks", "--patience", "0.001"], cwd=ROOT, capture_output=True,
        text=True,
    )  # fmt: skip
    assert late.returncode == 1
    assert "not done after 0 s" in late.stdout
