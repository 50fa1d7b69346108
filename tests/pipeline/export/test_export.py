"""Exported models: whole, licensed, and computing what torch computes."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

from pipeline.cli.app import main
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.export.model_card import LICENCES, Figure, read_metrics
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import CheckpointError, DataError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2).save(folder)
    return folder


def test_an_export_is_whole(snapshot: Path, tmp_path: Path):
    data = tmp_path / "set"
    prepare(open_source("24", "rendered"), data, (4, 8, 16), workers=1)
    (tmp_path / "m.json").write_text('{"name": "x"}\n{"metrics": {"fid": 12.5}, "images": 100}\n')
    out = tmp_path / "exported"
    words = ("export", snapshot, "--format", "torch", "--data", data,
             "--metrics", tmp_path / "m.json", "--out", out)  # fmt: skip
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout.splitlines()[-1])
    assert max(said["largest_error"]["torch"].values()) < 1e-4
    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "cc0-1.0"
    assert "| metrics.fid | 12.5 |  |" in card
    assert "CC0-1.0 (drawn by this program)" in card
    for name in ("samples.png", "reconstructions.png"):
        assert f"]({name})" in card
        assert (out / name).exists()
    m, again = StyleALAE.load(snapshot), StyleALAE.load(out)
    assert torch.equal(m.sample(2), again.sample(2))


def test_where_the_weights_are_from_is_exported(snapshot: Path, tmp_path: Path):
    for out, wanted in (("a", "Where the weights are from is not recorded."), ("b", "Found.")):
        words = ("export", snapshot, "--out", tmp_path / out)
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        card = (tmp_path / out / "README.md").read_text()
        assert wanted in card
        assert "running average" not in card
        StyleALAE.load(snapshot).save(snapshot, origin="Found.")
    assert StyleALAE.load(tmp_path / "b").origin == "Found."


def test_half_precision_is_half_the_size_and_close(snapshot: Path, tmp_path: Path):
    out = tmp_path / "half"
    words = ("export", snapshot, "--half", "--out", out)
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    small, large = ((folder / "model.safetensors").stat().st_size for folder in (out, snapshot))
    assert small < 0.6 * large
    m, again = StyleALAE.load(snapshot), StyleALAE.load(out)
    assert again.w_mean.dtype == torch.float32
    w = m.map(torch.randn(4, 8))
    torch.testing.assert_close(
        again.generate(w, noise=False), m.generate(w, noise=False), rtol=0, atol=0.01
    )


def test_a_weight_too_large_for_half_precision_is_named(snapshot: Path, tmp_path: Path):
    m = StyleALAE.load(snapshot)
    m.nets.D.layers[0].bias.data[0] = 1e5
    with pytest.raises(CheckpointError, match=r"D\.layers.* holds 100000, and half precision"):
        m.save(tmp_path, half=True)


@pytest.mark.slow
def test_onnx_computes_what_torch_does_on_other_inputs(snapshot: Path, tmp_path: Path):
    runtime = pytest.importorskip("onnxruntime")
    from stylealae.interop.portable import export

    m = StyleALAE.load(snapshot)
    errors = export(m.nets, 1, tmp_path, "onnx")  # an earlier stage than the last
    assert max(errors.values()) < 1e-5
    x = torch.rand(5, 3, 8, 8) * 2 - 1
    session = runtime.InferenceSession(str(tmp_path / "encoder.onnx"))
    w = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    want = m.encode(x, stage=1)
    assert (w - want).abs().max() < 1e-5 * want.abs().max()
    session = runtime.InferenceSession(str(tmp_path / "generator.onnx"))
    layers = w[:, None].expand(-1, 4, -1).contiguous()
    y = torch.from_numpy(session.run(None, {"w": layers.numpy()})[0])
    shown = m.generate(w, stage=1, noise=False)
    assert (y - shown).abs().max() < 1e-5 * shown.abs().max()


def test_licences_are_the_hubs():
    assert [hub for hub in LICENCES.values() if hub != hub.lower()] == []
    longer = list(LICENCES)
    assert all(not b.startswith(a) for i, a in enumerate(longer) for b in longer[i + 1 :])


def test_metrics_of_any_shape(tmp_path: Path):
    file = tmp_path / "m.json"
    file.write_text('{"a": {"b": 1, "c": true, "d": "x"}, "e": 2.5}')
    assert read_metrics(file) == [Figure("a.b", 1.0), Figure("e", 2.5)]
    file.write_text("nonsense")
    with pytest.raises(DataError, match="no metrics"):
        read_metrics(file)


def test_the_card_has_every_metric_that_was_measured_last(tmp_path: Path):
    about = {"protocol": "as ever", "samples": 50, "real": {"train": 40}}
    rows = (("fid", 9.0), ("kid", None), ("psnr", 20.0), ("fid", 8.0))
    lines = [{**about, "metric": name, "values": {name: value}} for name, value in rows]
    file = tmp_path / "m.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    how = "as ever, 50 generated, 40 real of train"
    assert read_metrics(file) == [Figure("fid", 8.0, how), Figure("psnr", 20.0, how)]
