"""The Python door: what a snapshot gives back, and what it refuses."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stylealae import StyleALAE, families
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


def test_where_the_weights_are_from_stays_with_them(model: StyleALAE, tmp_path: Path):
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
    model.save(once, origin="Found in a drawer.")
    m = StyleALAE.load(once)
    x = m.sample(2)
    w = m.refine(x, 1).w
    found = m.with_prior(m.fit_prior(m.styles(16), 1)).tuned(m.tune(x, w, 1).tuning)
    found = found.with_recovery(found.recover(lambda ids: x[ids], 2, 4))
    for made in (m, found, families.load(once)):
        made.save(twice)
        assert "Found in a drawer." in (twice / "README.md").read_text()
        assert StyleALAE.load(twice).origin == "Found in a drawer."
    m.save(twice, origin="Found again.")
    assert StyleALAE.load(twice).origin == "Found again."


def test_a_card_claims_no_training_that_is_not_known(model: StyleALAE, tmp_path: Path):
    model.save(tmp_path)
    assert "Trained on 123 real images" in (tmp_path / "README.md").read_text()
    model.seen = 0
    model.save(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "Where the weights are from is not recorded." in card
    assert "Trained on" not in card


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


@pytest.fixture
def snapshot(model: StyleALAE, tmp_path: Path) -> Path:
    model.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("load", [StyleALAE.load, families.load])
def test_a_flipped_bit_is_found_by_the_manifest(snapshot: Path, load):
    hashes = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in snapshot.iterdir()}
    (snapshot / "manifest.json").write_text(json.dumps({"format": 1, "sha256": hashes}))
    load(snapshot)
    weights = snapshot / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors does not have the hash"):
        load(snapshot)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load(snapshot)
    (snapshot / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load(snapshot)


def test_a_model_saved_over_another_drops_its_manifest(snapshot: Path, model: StyleALAE):
    (snapshot / "manifest.json").write_text(
        json.dumps({"format": 1, "sha256": {"model.safetensors": "0" * 64}})
    )
    model.save(snapshot)
    assert StyleALAE.load(snapshot).seen == 123


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_weights_that_are_not_finite_are_refused(snapshot: Path, number: str):
    tensors = load_file(snapshot / "model.safetensors")
    tensors["F.layers.1.weight"][0, 0] = float(number)
    save_file(tensors, snapshot / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"F\.layers\.1\.weight .* not finite"):
        StyleALAE.load(snapshot)


def test_weights_that_are_whole_numbers_are_refused(snapshot: Path):
    tensors = load_file(snapshot / "model.safetensors")
    tensors["F.layers.1.weight"] = (100 * tensors["F.layers.1.weight"]).int()
    save_file(tensors, snapshot / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"F\.layers\.1\.weight holds whole numbers"):
        StyleALAE.load(snapshot)


def test_a_key_that_a_config_lacks_is_named(snapshot: Path):
    about = json.loads((snapshot / "config.json").read_text())
    del about["stage"]
    (snapshot / "config.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"config\.json has no 'stage'"):
        StyleALAE.load(snapshot)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"z_width": 60_000, "w_width": 60_000}, "has shape"),  # 58 GB of weights
        ({"mapping_layers": 200}, "missing"),
        ({"mapping_layers": 10**9}, "the most is"),
        ({"resolution": 1 << 40}, "the most is"),
        ({"max_channels": 10**30, "start_channels": 10**30}, "the most is"),
        ({"resolution": "16"}, "no whole snapshot"),
        ({"resolution": None}, "no whole snapshot"),
    ],
)
@pytest.mark.parametrize("load", [StyleALAE.load, families.load])
def test_a_config_that_asks_for_more_than_the_weights_is_refused_before_it_gets_it(
    snapshot: Path, changed: dict[str, object], says: str, load
):
    about = json.loads((snapshot / "config.json").read_text())
    about["model"] |= changed
    (snapshot / "config.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=says):
        load(snapshot)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pointer_and_a_missing_file_are_sentences(snapshot: Path, name: str):
    (snapshot / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(CheckpointError, match="Git-LFS pointer"):
        StyleALAE.load(snapshot)
    (snapshot / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        families.load(snapshot)


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, '{"format": 1, "model": [], "stage": 0}'])
def test_a_config_that_is_none_is_a_sentence(snapshot: Path, text: str):
    (snapshot / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="no whole snapshot"):
        StyleALAE.load(snapshot)


def test_a_stage_that_the_networks_do_not_have_is_refused(snapshot: Path):
    about = json.loads((snapshot / "config.json").read_text())
    (snapshot / "config.json").write_text(json.dumps({**about, "stage": 3}))
    with pytest.raises(CheckpointError, match="stage 3 is none"):
        StyleALAE.load(snapshot)
