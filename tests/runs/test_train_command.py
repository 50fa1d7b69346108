"""`stylealae train` to its end: what it leaves and says."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main

SHAPE = ("model.hidden=8", "schedule.stage_img=[24]", "schedule.batch=[8]", "engine.threads=1",
         "engine.precision=fp32", "checkpoint.every_img=24", "log.grid_img=1000",
         "data.validation_img=20")  # fmt: skip


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The command sets how many its process has."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def train(config: str, digits: Path) -> str:
    """What the command prints."""
    given = (config, f"data.path={digits}", "run_dir=run", *SHAPE)
    said = CliRunner().invoke(main, ["train", *given], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return said.output


@pytest.mark.parametrize("config", ["mnist/autoencoder", "mnist/gan"])
def test_a_run_ends_with_pictures_and_a_report(
    config: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    interrupted = signal.getsignal(signal.SIGINT)
    said = train(config, digits)
    assert signal.getsignal(signal.SIGINT) is interrupted
    assert "\ndone\n  run folder        run\n" in said
    assert f"evaluate run --data {digits}" in said
    assert "complete after 24 images" in (tmp_path / "run/report.html").read_text()
    reconstructs = config != "mnist/gan"
    assert (tmp_path / "run/reconstructions.png").exists() is reconstructs
    samples = tmp_path / "run/samples.png"
    assert Image.open(samples).width > 500
    written = samples.stat().st_mtime_ns

    again = train(config, digits)
    assert "\nthis run is complete\n  run folder        run\n" in again
    assert samples.stat().st_mtime_ns == written
