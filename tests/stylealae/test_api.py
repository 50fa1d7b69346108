"""The Python door: what a snapshot gives back, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import CheckpointError, ConfigError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


@pytest.fixture
def model() -> StyleALAE:
    return StyleALAE(build(SMALL, 1), SMALL, torch.randn(6, 8), stage=2, seen=123)


def test_a_snapshot_is_the_same_model(model: StyleALAE, tmp_path: Path):
    model.save(tmp_path)
    again = StyleALAE.load(tmp_path)
    assert (again.stage, again.seen, again.resolution) == (2, 123, 16)
    x = model.sample(3, seed=5, truncation=0.7)
    assert torch.equal(again.sample(3, seed=5, truncation=0.7), x)
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    assert "StyleALAE" in (tmp_path / "README.md").read_text()


def test_shapes(model: StyleALAE):
    w = model.map(torch.randn(2, 8))
    assert w.shape == (2, 8)
    for stage in range(3):
        x = model.generate(w, stage)
        assert x.shape == (2, 3, 4 << stage, 4 << stage)
        assert model.encode(x, stage).shape == (2, 8)
    assert model.score(w).shape == (2,)
    layers = w[:, None].expand(-1, 6, -1)
    assert torch.equal(model.generate(layers, noise=False), model.generate(w, noise=False))


def test_sampling_is_seeded_and_truncation_zero_is_the_mean(model: StyleALAE):
    assert not torch.equal(model.sample(2, seed=1), model.sample(2, seed=2))
    x = model.sample(3, truncation=0.0)
    assert torch.allclose(x[0], x[1], atol=1e-5)
    assert not torch.allclose(model.sample(2)[0], model.sample(2)[1])


@pytest.mark.parametrize("side", [8, 32])
def test_images_of_another_size_are_refused(model: StyleALAE, side: int):
    with pytest.raises(ConfigError, match="resize them, or name another stage"):
        model.encode(torch.zeros(1, 3, side, side))


def test_a_stage_that_does_not_exist_is_refused(model: StyleALAE):
    with pytest.raises(ConfigError, match="has 0 to 2"):
        model.sample(1, stage=3)


def test_what_is_no_whole_snapshot_is_refused(model: StyleALAE, tmp_path: Path):
    with pytest.raises(CheckpointError, match="is no snapshot"):
        StyleALAE.load(tmp_path / "nothing")
    model.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="no whole snapshot"):
        StyleALAE.load(tmp_path)
    weights.write_bytes(whole)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        StyleALAE.load(tmp_path)
    about["model"]["w_width"] = about["model"]["z_width"] = 16
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="no whole snapshot"):
        StyleALAE.load(tmp_path)
