"""A run that fails in the same place twice in a row ends with the reason, and mended goes on.

Nothing is injected: where the pictures of the run belong lies a file, which is found when the first
picture is due, after 640 images.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
CONFIG = [
    "faces=64",
    "model.resolution=4",
    "model.max_channels=8",
    "schedule.stage_img=[960]",
    "checkpoint.every_img=320",
    "log.scalars_img=320",
    "log.grid_img=640",
    "cluster.workers=[1]",
]


def run(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    places = [f"run_dir={tmp_path / 'run'}", f"data.path={tmp_path / 'faces'}"]
    command = [sys.executable, "launch/demo.py", *CONFIG, *places]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)


def test_the_same_failure_twice_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    in_the_way = tmp_path / "run/images"
    in_the_way.parent.mkdir()
    in_the_way.write_text("")
    failed = run(tmp_path)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "twice in a row in the same place" in failed.stderr
    assert "after 640 images" in failed.stderr
    assert "images" in failed.stderr
    assert "Traceback" not in failed.stderr

    in_the_way.unlink()
    mended = run(tmp_path)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "snapshot" in mended.stdout
