"""`stylealae train` to its end, in a process of its own: what it leaves and says."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SHAPE = ("model.hidden=8", "schedule.stage_img=[24]", "schedule.batch=[8]", "engine.threads=1",
         "engine.precision=fp32", "checkpoint.every_img=24", "log.grid_img=1000",
         "data.validation_img=20")  # fmt: skip


def train(config: str, digits: Path, folder: Path) -> str:
    """What the command prints."""
    given = (config, f"data.path={digits}", "run_dir=run", *SHAPE)
    command = (sys.executable, "-m", "pipeline.cli", "train", *given)
    run = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return run.stdout


@pytest.mark.parametrize("config", ["mnist/autoencoder", "mnist/gan"])
def test_a_run_ends_with_pictures_and_a_report(config: str, digits: Path, tmp_path: Path) -> None:
    said = train(config, digits, tmp_path)
    assert "\ndone\n  run folder        run\n" in said
    assert f"evaluate run --data {digits}" in said
    assert "complete after 24 images" in (tmp_path / "run/report.html").read_text()
    reconstructs = config != "mnist/gan"
    assert (tmp_path / "run/reconstructions.png").exists() is reconstructs
    samples = tmp_path / "run/samples.png"
    assert Image.open(samples).width > 500
    written = samples.stat().st_mtime_ns

    again = train(config, digits, tmp_path)
    assert "\nthis run is complete\n  run folder        run\n" in again
    assert samples.stat().st_mtime_ns == written
