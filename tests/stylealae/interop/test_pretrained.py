"""The models that come with the package."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pipeline.cli.app import main
from pipeline.training.model_folder import snapshot_of
from stylealae import StyleALAE
from stylealae.interop.pretrained import DEFAULT, names, pretrained, trained_on


@pytest.mark.parametrize("name", names())
def test_it_is_a_whole_snapshot_that_is_small_enough_to_be_had(name: str) -> None:
    folder = pretrained(name)
    assert folder is not None
    assert sum(file.stat().st_size for file in folder.iterdir()) < 20 << 20
    m = StyleALAE.from_pretrained(name)
    x = m.sample(2, seed=1)
    assert x.shape == (2, 3, m.resolution, m.resolution)
    assert torch.isfinite(x).all()


def test_a_command_takes_it_by_name_and_a_folder_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert DEFAULT in names()
    assert snapshot_of(Path(DEFAULT)) == pretrained(DEFAULT)
    own = Path(DEFAULT) / "0004" / "snapshot"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    assert snapshot_of(Path(DEFAULT)) == own


def test_its_directions_are_not_written_into_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["directions", DEFAULT, "--sefa", "2"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 1
    assert "rendered_64 comes with the package: name a folder of your own" in shown.output
    assert CliRunner().invoke(main, [*words, "--out", "own"]).exit_code == 0
    assert (tmp_path / "own/directions.json").exists()


def test_what_each_was_trained_on_is_said() -> None:
    assert all(trained_on(name).endswith(".") for name in names())
    assert trained_on("runs/demo") == ""
