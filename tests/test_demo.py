"""What `make demo` adds for weights that exist: their widths, and a run folder of its own."""

from pathlib import Path

import pytest
import torch

from launch import demo
from pipeline.config import load
from pipeline.config.packaged import packaged
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.interop.pretrained import pretrained
from stylealae.networks import build

MODEL = ModelConfig(
    resolution=32, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


def test_from_takes_the_widths_of_a_runs_newest_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage, side in ((2, "0016"), (3, "0032")):
        folder = tmp_path / "runs/faces" / side / "snapshot"
        folder.mkdir(parents=True)
        StyleALAE(build(MODEL), MODEL, torch.zeros(8, 8), stage=stage).save(folder)
    asked: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(demo, "launch", lambda config, argv, **_: asked.append((config, argv)))
    demo.main(["input=photos.zip", f"from={tmp_path / 'runs/faces'}", "seed=3"])
    ((config, argv),) = asked
    cfg = load(config, [a for a in argv if not a.startswith("input=")])
    assert config == packaged("demo_own")
    assert "input=photos.zip" in argv
    assert cfg.init.from_ == str(tmp_path / "runs/faces/0032/snapshot")
    assert (cfg.run_dir, cfg.data.path) == ("runs/photos-64-from-faces", "datasets/photos-64")
    assert (cfg.model.resolution, cfg.model.start_channels, cfg.model.w_width) == (64, 2, 8)
    assert cfg.seed == 3


def test_from_takes_the_model_of_the_package_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(demo, "launch", lambda _, argv, **__: asked.append(argv))
    demo.main(["input=photos.zip", "from=rendered_64", "model.resolution=64"])
    (argv,) = asked
    assert f"init.from={pretrained('rendered_64')}" in argv
    assert "run_dir=runs/photos-64-from-rendered_64" in argv
