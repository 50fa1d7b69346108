"""A run in an object store is used as one in a folder: drawn from, measured, told, begun with."""

import json
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch
from click.testing import CliRunner, Result

pytest.importorskip("s3fs")

from pipeline.cli.app import main
from pipeline.cli.beginning import RequestedRun
from pipeline.cli.commands import pages
from pipeline.cli.commands.pages import _config_of, _name_of
from pipeline.cli.summary import print_summary
from pipeline.config import RunConfig, as_dict
from pipeline.config.sections import DataConfig
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.report.run import fetched_run
from pipeline.storage import open_storage
from pipeline.training.model_folder import anchored, folder_of, snapshot_of, url_of
from pipeline.training.run_files import publish
from pipeline.training.snapshots import finish_stage, snapshot
from pipeline.training.weight_sources import opened
from stylealae import StyleALAE
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.errors import CheckpointError
from stylealae.networks import build
from tests.pipeline.storage.bucket import bucket

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
URL = "s3://used/runs/ffhq"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 rendered faces at 4x4 and 8x8."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("24", "rendered"), out, (4, 8), workers=1)
    return out


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunConfig]:
    """A finished run at URL, as a host of the cluster has left it; this one has seen none of it."""
    cfg = RunConfig(
        run_dir=URL, model=SMALL, data=DataConfig(path=str(faces)),
        schedule=ScheduleConfig(stage_img=(400, 600), total_img=0, batch=(8,), lr=(0.002,)),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, bucket() as store:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("other-host")))
        store.upload(faces.parent / "nothing", "s3://used/none")  # makes the bucket
        storage = open_storage(URL)
        rows = [{"seen": seen, "loss/critic": 1.5, "time/img_per_s": 50.0} for seen in (500, 1000)]
        storage.write("metrics.jsonl", "".join(json.dumps(r) + "\n" for r in rows).encode())
        state = {"seen": 1000, "stage": 1, "config": as_dict(cfg), "versions": {}}
        publish(
            storage, "0008/seen-0000001000",
            lambda to: [(to / "state.json").write_text(json.dumps(state))], None,
        )  # fmt: skip
        for stage in (0, 1):
            finish_stage(storage, stage, model(stage))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("this-host")))
        yield cfg


def model(stage: int) -> StyleALAE:
    """What a stage leaves, untrained."""
    return StyleALAE(build(SMALL), SMALL, torch.zeros(4, 8), stage=stage, seen=1000)


def typed(*words: str) -> Result:
    """A command, which must succeed."""
    found = CliRunner().invoke(main, [*words])
    assert found.exit_code == 0, found.output
    return found


def test_its_newest_snapshot_is_fetched_and_any_other_by_its_own_url(run: RunConfig) -> None:
    newest = StyleALAE.load(snapshot_of(URL))
    assert newest.stage == 1
    assert StyleALAE.load(snapshot_of(Path(URL))).stage == 1  # has lost a slash
    assert StyleALAE.load(snapshot_of(f"{URL}/0004/snapshot")).stage == 0


def test_models_beside_each_other_are_kept_and_of_checkpoints_one(run: RunConfig) -> None:
    models = open_storage("s3://used/models")
    for name in ("a", "b"):
        publish(models, name, lambda to: model(0).save(to), None)
    first = snapshot_of("s3://used/models/a")
    assert snapshot_of("s3://used/models/b") != first
    assert StyleALAE.load(first).stage == 0
    for seen in (100, 200):
        publish(models, f"0004/seen-{seen:010d}", _empty, None)
    before, after = (folder_of(f"s3://used/models/0004/seen-{n:010d}") for n in (100, 200))
    assert not before.exists()
    assert after.exists()


def test_what_is_no_model_there_says_so(run: RunConfig) -> None:
    with pytest.raises(CheckpointError, match="used/runs is neither a snapshot nor a run"):
        snapshot_of("s3://used/runs")
    publish(open_storage("s3://used/begun"), "0004/seen-0000000100", _empty, None)
    with pytest.raises(CheckpointError, match="its first stage is not finished"):
        snapshot_of("s3://used/begun")
    open_storage("s3://used/copied").write("config.json", b"{}")
    with pytest.raises(CheckpointError, match=r"has no manifest\.json: copy a whole snapshot"):
        snapshot_of("s3://used/copied")


def test_a_damaged_snapshot_is_refused(run: RunConfig) -> None:
    storage = open_storage("s3://used/damaged")
    finish_stage(storage, 0, model(0))
    (file,) = (n for n in storage.sizes("0004") if n.endswith("model.safetensors"))
    storage.write(file, storage.read(file)[:-1] + b"!")
    with pytest.raises(CheckpointError, match="0004/snapshot is no whole snapshot or checkpoint"):
        snapshot_of("s3://used/damaged")


def test_commands_take_its_url(run: RunConfig, faces: Path, tmp_path: Path) -> None:
    typed("sample", URL, "--count", "2", "--out", str(tmp_path / "samples.png"))
    assert (tmp_path / "samples.png").exists()
    words = ["evaluate", URL, "--data", str(faces), "--metrics", "psnr", "--samples", "8"]
    storage = open_storage(URL)
    storage.write("scores.jsonl", b'{"seen": 1000, "values": {"psnr": 1.0, "old": 2.0}}\n')
    typed(*words)
    typed(*words)
    files = [f"scores/{name}" for name in storage.names("scores")]  # one each: none is lost
    lines = [json.loads(line) for file in files for line in storage.read(file).splitlines()]
    assert [line["metric"] for line in lines] == ["psnr", "psnr"]
    assert lines[0]["snapshot"] == URL
    scores = {score.name: score.value for score in fetched_run(URL).scores}
    assert scores == {"psnr": lines[1]["values"]["psnr"], "old": 2.0}
    refused = CliRunner().invoke(main, ["directions", URL, "--sefa", "2"])
    assert refused.exit_code == 1
    assert f"{URL} is not on this machine: name a folder of your own with --out" in refused.output
    typed("directions", URL, "--sefa", "2", "--out", str(tmp_path / "sefa"))
    typed("export", URL, "--out", str(tmp_path / "exported"))
    assert StyleALAE.load(tmp_path / "exported").stage == 1


def test_the_studio_knows_its_name_and_its_images(run: RunConfig, faces: Path) -> None:
    for url in (URL, f"{URL}/0008/snapshot"):
        assert _name_of(Path(url).resolve()) == "ffhq"
        found = _config_of(Path(url))
        assert found is not None
        assert found.data.path == str(faces)


def test_the_studio_does_not_wait_for_a_store_of_images_that_is_silent(
    run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(pages, "MANIFEST_S", 0.5)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        began = time.monotonic()
        assert pages._trained_on(replace(run, data=DataConfig(path="s3://faces/set"))) == ""
        assert time.monotonic() - began < 15
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_its_end_is_told_on_a_host_that_has_no_file_of_it(
    run: RunConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    storage = open_storage(URL)
    shutil.rmtree(storage.working, ignore_errors=True)
    print_summary("done", RequestedRun(run, storage), snapshot(storage, 1))
    said = capsys.readouterr().out
    assert f"snapshot          {URL}/0008/snapshot\n" in said
    assert f"report            {URL}/report.html\n" in said
    assert f"studio {URL}/0008/snapshot\n" in said
    page = storage.read("report.html").decode()
    assert "complete after 1,000 images" in page
    assert '<a href="samples.png"' in page
    assert storage.read("samples.png")[:4] == b"\x89PNG"
    typed("report", URL, "--out", str(tmp_path / "told.html"))
    told = (tmp_path / "told.html").read_text()
    assert "Samples of the finished model" in told
    assert "samples.png" not in told


def test_a_run_begins_with_it(run: RunConfig, tmp_path: Path) -> None:
    source = opened(URL)
    assert (source.where, source.trained.stage) == (URL, 1)
    assert opened(f"{URL}/0004/snapshot").trained.stage == 0
    assert anchored(URL, tmp_path) == URL
    assert anchored("rendered_64", tmp_path) == "rendered_64"
    (tmp_path / "rendered_64").mkdir()
    assert anchored("rendered_64", tmp_path) == str(tmp_path / "rendered_64")
    assert opened("rendered_64").trained.model.resolution == 64


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("s3://b/run/", "s3://b/run"),
        (Path("s3://b/run"), "s3://b/run"),
        (Path("hf://me/faces@v1"), "hf://me/faces@v1"),
        ("runs/demo", ""),
        ("/s3/b", ""),
        ("C:/runs", ""),
    ],
)
def test_a_url_is_told_from_a_path(where: str | Path, url: str) -> None:
    assert url_of(where) == url


def _empty(folder: Path) -> None:
    (folder / "state.json").write_text("{}")
