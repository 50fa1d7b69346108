"""Models and images of a hub on loopback: what is fetched, pinned, kept, pushed and refused."""

import io
import json
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.training.weight_sources import opened
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import CheckpointError, DataError, UnreachableError
from stylealae.networks import build
from tests.hubserver import Hub, serving

pytest.importorskip("huggingface_hub", reason="the hub's library is not installed")

SMALL = ModelConfig(
    resolution=8, start_channels=2, max_channels=4, z_width=4, w_width=4, mapping_layers=1
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub; the library is imported anew, since it reads its environment then."""
    with serving() as found:
        for name in [name for name in os.environ if name.startswith("HF_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", "secret")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        _forget_library(monkeypatch)
        yield found


def _forget_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)


def model(seed: int = 1) -> StyleALAE:
    return StyleALAE(build(SMALL, seed), SMALL, torch.zeros(4, 4), stage=1, seen=96)


def test_a_model_that_was_pushed_is_the_one_that_is_fetched(hub: Hub):
    first = model(1).push_to_hub("me/faces")
    second = model(2).push_to_hub("me/faces")
    assert list(hub.commits["models/me/faces"]) == [first, second]
    hub.asked.clear()
    for name, seed in (("me/faces", 2), (f"me/faces@{first}", 1), (f"me/faces@{second}", 2)):
        again = StyleALAE.from_pretrained(name)
        assert torch.equal(again.sample(2), model(seed).sample(2))
        assert again.seen == 96
    fetched = {line.rpartition("/")[2] for line in hub.asked if line.startswith("GET /me/faces/")}
    assert fetched == {"config.json", "model.safetensors"}


def test_nothing_but_safetensors_and_json_is_fetched(hub: Hub, tmp_path: Path):
    model().save(tmp_path)
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    traps = {"model.pth": b"pickle", "modeling.py": b"raise SystemExit", "sub/x.pkl": b"pickle"}
    hub.commit("models/me/faces", files | traps)
    StyleALAE.from_pretrained("me/faces")
    asked = " ".join(line for line in hub.asked if "/resolve/" in line)
    assert "model.safetensors" in asked
    assert not any(name in asked for name in traps)


def test_without_a_network_the_cache_is_enough(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    model().push_to_hub("me/faces")
    here = StyleALAE.from_pretrained("me/faces").sample(1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _forget_library(monkeypatch)
    hub.asked.clear()
    assert torch.equal(StyleALAE.from_pretrained("me/faces").sample(1), here)
    with pytest.raises(CheckpointError, match="me/others cannot be had from the hub"):
        StyleALAE.from_pretrained("me/others")
    assert hub.asked == []


@pytest.mark.parametrize("name", ["me/none", "me/faces@abc", "no name", "a/b/c"])
def test_what_is_not_there_is_said(hub: Hub, name: str):
    model().push_to_hub("me/faces")
    with pytest.raises(CheckpointError, match="write owner/name or owner/name@revision"):
        StyleALAE.from_pretrained(name)


def test_whoever_may_not_write_is_told_how_to_log_in(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(CheckpointError, match=r"could not be pushed .*hf auth login"):
        model().push_to_hub("me/faces")
    assert hub.commits == {}


def test_the_tools_push_with_scores_and_take_models_of_the_hub(hub: Hub, tmp_path: Path):
    model().save(tmp_path)
    line = {"metric": "psnr", "protocol": "mean PSNR", "samples": 0, "real": {"test": 16},
            "values": {"psnr": 20.5}}  # fmt: skip
    (tmp_path / "scores.jsonl").write_text(json.dumps(line) + "\n")
    out = tmp_path / "out"
    shown = CliRunner().invoke(
        main,
        ["export", str(tmp_path), "--out", str(out), "--metrics", str(tmp_path / "scores.jsonl"),
         "--push", "me/faces"],
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    (commit,) = hub.commits["models/me/faces"]
    assert json.loads(shown.stdout.splitlines()[-1])["pushed"] == commit

    from huggingface_hub import ModelCard

    card = ModelCard(hub.commits["models/me/faces"][commit]["README.md"].decode()).data
    (score,) = card.eval_results
    assert (score.metric_type, score.metric_value) == ("psnr", 20.5)
    drawn = tmp_path / "samples.png"
    shown = CliRunner().invoke(
        main, ["sample", f"hf://me/faces@{commit}", "--out", str(drawn), "--count", "2"]
    )
    assert shown.exit_code == 0, shown.output
    assert drawn.stat().st_size > 500


def test_a_run_begins_with_a_model_of_the_hub(hub: Hub):
    model().push_to_hub("me/faces")
    source = opened("hf://me/faces")
    assert (source.where, source.trained.stage, source.trained.seen) == ("hf://me/faces", 1, 96)
    assert source.parts()[0].keys() >= dict(model().nets.named_parameters()).keys()


def test_directions_are_not_written_into_the_hubs_cache(hub: Hub, tmp_path: Path):
    model().push_to_hub("me/faces")
    words = ["directions", "hf://me/faces", "--sefa", "1"]
    hub.asked.clear()
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 1
    said = "hf://me/faces is not on this machine: name a folder of your own with --out"
    assert said in shown.output
    assert hub.asked == []
    assert CliRunner().invoke(main, [*words, "--out", str(tmp_path / "own")]).exit_code == 0
    assert (tmp_path / "own/directions.json").exists()
    assert not list((tmp_path / "hf").rglob("directions.*"))


def noises(count: int, groups: int = 4, first: int = 0) -> bytes:
    """A Parquet file of images of noise, 27 KB each, and their numbers."""
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = []
    for i in range(first, first + count):
        stream = io.BytesIO()
        pixels = np.random.default_rng(i).integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(pixels).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": f"{i}.png"})
    stream = io.BytesIO()
    table = pa.table({"image": rows, "number": list(range(first, first + count))})
    parquet.write_table(table, stream, row_group_size=-(-count // groups))
    return stream.getvalue()


SETS = {
    "data/train-00000-of-00001.parquet": 16,
    "data/test-00000-of-00001.parquet": 4,
}


def commit_noises(hub: Hub, first: int = 0) -> str:
    files = {name: noises(count, first=first) for name, count in SETS.items()}
    return hub.commit("datasets/me/noise", {**files, "load.py": b"raise SystemExit"})


def prepare(name: str, out: Path) -> dict[str, Any]:
    words = ["prepare", f"hf://datasets/{name}", "--out", str(out), "--resolutions", "4..8"]
    shown = CliRunner().invoke(main, [*words, "--workers", "1"])
    assert shown.exit_code == 0, shown.output
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


def test_images_of_the_hub_are_prepared_from_where_they_lie(hub: Hub, tmp_path: Path):
    """Ranges of the files alone are asked for, each once, and the hub's cache stays empty."""
    commit_noises(hub)
    manifest = prepare("me/noise", tmp_path / "noise")
    assert manifest["source"] == "parquet"
    assert {name: part["samples"] for name, part in manifest["splits"].items()} == {
        "train": 16, "test": 4,
    }  # fmt: skip
    asked = [line.split() for line in hub.asked if "/resolve/" in line]
    assert asked
    assert all(len(words) == 3 for words in asked)  # a range each
    size = len(hub.commits["datasets/me/noise"][next(iter(hub.commits["datasets/me/noise"]))][
        "data/train-00000-of-00001.parquet"])  # fmt: skip
    spans = [words[2].split("-") for words in asked if "train" in words[1]]
    assert max(int(last) - int(first) for first, last in spans) < size // 2
    assert not list((tmp_path / "hf").rglob("*.parquet"))
    assert not any("load.py" in line for line in hub.asked)


def test_of_several_configs_one_is_named_with_the_set(hub: Hub, tmp_path: Path):
    from pipeline.data.sources.registry import open_source

    names = ("large/partial-train", "large/partial-test", "small/train")
    files = {f"{name}/0000.parquet": noises(2, first=i) for i, name in enumerate(names)}
    commit = hub.commit("datasets/me/noise", files)
    with pytest.raises(DataError, match=rf"large, small: .* hf://datasets/me/noise/small@{commit}"):
        open_source("hf://datasets/me/noise")
    source = open_source(f"hf://datasets/me/noise/large@{commit}")
    assert source.splits == {"train": range(2), "test": range(2, 4)}
    assert [source.read(i).labels for i in range(4)] == [{"number": n} for n in (0, 1, 1, 2)]
    assert pickle.loads(pickle.dumps(source)).fingerprint == source.fingerprint
    hub.asked.clear()
    part = pickle.loads(pickle.dumps(source.part(2, 4)))
    assert [part.read(i).labels for i in (2, 3)] == [{"number": n} for n in (1, 2)]
    assert hub.asked
    assert all("/large/partial-test/" in line for line in hub.asked)
    with pytest.raises(DataError, match="holds no Parquet files"):
        open_source("hf://datasets/me/noise/middling")


def test_a_hub_that_fails_meanwhile_says_nothing_of_the_images(hub: Hub, tmp_path: Path):
    from pipeline.data.sources.registry import open_source
    from stylealae.interop.hub import dataset

    commit = commit_noises(hub)
    source = open_source("hf://datasets/me/noise")
    assert source.read(0).labels == {"number": 0}
    files, there = dataset("me/noise").files, hub.commits["datasets/me/noise"][commit]
    hub.commits["datasets/me/noise"][commit] = {}
    with pytest.raises(UnreachableError, match=r"train-0.* no longer be read from the hub \(.*404"):
        source.read(15)
    hub.commits["datasets/me/noise"][commit] = there
    cut = next(file for file in files if "test" in file.name)
    stream = replace(cut, size=cut.size + 1).open()
    stream.seek(-8, io.SEEK_END)
    with pytest.raises(UnreachableError, match=r"the hub gave 7 bytes of data/test-00000\S* for 8"):
        stream.read(8)


def test_what_is_prepared_is_pinned_and_a_branch_that_moved_is_noticed(hub: Hub, tmp_path: Path):
    first = commit_noises(hub)
    before = prepare("me/noise", tmp_path / "a")
    commit_noises(hub, first=3)
    assert prepare(f"me/noise/data@{first}", tmp_path / "b") == before
    words = ["prepare", "hf://datasets/me/noise", "--out", str(tmp_path / "a")]
    shown = CliRunner().invoke(main, [*words, "--resolutions", "4..8", "--workers", "1"])
    assert shown.exit_code == 1
    assert "the files or labels of the input are not what they were" in shown.output


def test_images_in_the_cache_of_the_hub_need_no_network(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import huggingface_hub

    commit = commit_noises(hub)
    online = prepare("me/noise", tmp_path / "online")
    huggingface_hub.snapshot_download("me/noise", repo_type="dataset", allow_patterns="*.parquet")
    hub.asked.clear()
    cached = prepare("me/noise", tmp_path / "cached")
    assert not any("/resolve/" in line for line in hub.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _forget_library(monkeypatch)
    hub.asked.clear()
    offline = prepare(f"me/noise@{commit}", tmp_path / "offline")
    assert hub.asked == []
    assert online == cached
    assert online["shards"] == offline["shards"]  # the hub alone knows the hashes of the recipe


def test_a_run_is_shown_images_of_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Prepared once a commit, into data.cache; without a network from there."""
    from pipeline.config import parse
    from pipeline.data.prepare.from_hub import with_hub_data

    commit = commit_noises(hub)
    given = ["model.resolution=8", f"data.cache={tmp_path / 'cache'}"]
    cfg = parse("", [*given, "data.path=hf://datasets/me/noise"])
    made = with_hub_data(cfg, workers=1)
    assert commit in made.data.path
    manifest = json.loads(Path(made.data.path, "manifest.json").read_text())
    assert manifest["resolutions"] == [4, 8]
    assert with_hub_data(made) == made
    hub.asked.clear()
    pinned = parse("", [*given, f"data.path=hf://datasets/me/noise@{commit}"])
    assert with_hub_data(pinned, workers=1) == made
    assert not any("/resolve/" in line for line in hub.asked)
    moved = commit_noises(hub, first=3)
    assert moved in with_hub_data(cfg, workers=1).data.path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _forget_library(monkeypatch)
    hub.asked.clear()
    assert with_hub_data(pinned, workers=1) == made
    assert moved in with_hub_data(cfg, workers=1).data.path
    assert hub.asked == []
    other = parse("", [*given, "data.path=hf://datasets/me/others"])
    with pytest.raises(DataError, match="me/others cannot be had from the hub"):
        with_hub_data(other)
