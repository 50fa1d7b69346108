"""The command line as a person types it: pictures come out, and errors are sentences."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.format.manifest import Manifest
from pipeline.planning.devices import GPUS
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build
from tests.reference.released_step import Released

DOCS = (Path(__file__).resolve().parents[3] / "docs/data.md").read_text()
SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    StyleALAE(build(SMALL), SMALL, torch.zeros(6, 8), stage=2).save(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (5, 40, 30, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def test_sample_and_reconstruct_write_pictures(snapshot: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "new" / "samples.png"
    assert run("sample", snapshot, "--out", out, "--count", "20").exit_code == 0
    assert Image.open(out).width > 16 * 64
    faces = tmp_path / "faces.png"
    assert run("reconstruct", snapshot, photos, photos / "0.png", "--out", faces).exit_code == 0
    assert Image.open(faces).width > 6 * 64


def test_prepare_counts_and_names_what_it_cannot_read(photos: Path, tmp_path: Path):
    (photos / "broken.png").write_bytes((photos / "0.png").read_bytes()[:200])
    out = tmp_path / "set"
    result = run("prepare", photos, "--out", out, "--resolutions", "4..16", "--workers", "1")
    assert result.exit_code == 0, result.output
    manifest = (out / "manifest.json").read_text()
    assert "broken.png" in manifest
    assert "5 train; 1 refused" in result.output.replace("\n", "")
    assert json.loads((out / "report.json").read_text())["converted"] == {"cropped to a square": 5}


def test_prepare_takes_what_a_user_knows(photos: Path, tmp_path: Path):
    ages = tmp_path / "ages.csv"
    ages.write_text("file,age\n0.png,30\n1.png,40\n2.png,\n3.png,20\n4.png,10\n")
    out = tmp_path / "set"
    result = run(
        *("prepare", photos, "--out", out, "--resolutions", "4..16", "--workers", "1"),
        *("--labels", ages, "--channels", "1", "--fit", "pad", "--licence", "CC0-1.0"),
        *("--test-fraction", "0.4", "--shard-img", "2", "--source", "folder"),
    )
    assert result.exit_code == 0, result.output
    made = Manifest.read(out)
    assert (made.channels, made.licence, made.labels) == (1, "CC0-1.0", ("age",))
    assert (made.samples("train"), made.samples("test"), len(made.shards)) == (3, 2, 3)
    assert made.recipe["fit"] == "pad"


def test_strict_prepare_stops_at_the_first(photos: Path, tmp_path: Path):
    (photos / "1.png").write_bytes(b"")
    command = ("prepare", photos, "--out", tmp_path / "set", "--resolutions", "4..16")
    result = run(*command, "--strict", "--workers", "1")
    assert result.exit_code == 1
    assert "one is 1.png: the file is empty (0 bytes)" in result.output
    assert run(*command, "--max-broken", "1", "--workers", "1").exit_code == 0


@pytest.mark.parametrize("line", re.findall(r"stylealae prepare [^`\n]+", DOCS))
def test_the_commands_in_the_docs_parse(line: str):
    _, name, *words = shlex.split(line)
    assert main.commands[name].make_context(name, words).params["out"]


def test_the_help_of_prepare_teaches():
    shown = run("prepare", "--help").output
    for word in ("ffhq", "celebahq", "stylegan-zip", "tfrecord", "lsun", "parquet", "rendered"):
        assert word in shown
    assert "RAY_ADDRESS" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prepare", "EMPTY", "--out", "OUT"], "no images"),
        (["prepare", "MISSING", "--out", "OUT"], "does not exist"),
        (["prepare", "PHOTOS", "--out", "OUT", "--resolutions", "5..64"], "powers of two"),
        (["prepare", "PHOTOS", "--out", "OUT", "--labels", "MISSING"], "is no file"),
        (["prepare", "PHOTOS", "--out", "OUT", "--source", "tfrecord"], "0 TFRecords"),
        (["prepare", "PHOTOS", "--out", "OUT", "--channels", "4"], "grey (1) or RGB (3)"),
        (["sample", "PHOTOS", "--out", "OUT.png"], "is neither a snapshot nor a run"),
        (["sample", "SNAPSHOT", "--out", "OUT.nonsense"], "end it in .png, .jpg"),
        (["reconstruct", "SNAPSHOT", "EMPTY", "--out", "OUT.png"], "image"),
        (["plan", "MISSING.yaml"], "cannot read the config"),
        (["train", "configs/demo.yaml", "model.chanels=3"], "Did you mean"),
        (["train", "configs/demo.yaml", "data.path=EMPTY", "run_dir=OUT"], "manifest"),
    ],
)
def test_bad_input_is_a_sentence(
    arguments: list[str], said: str, snapshot: Path, photos: Path, tmp_path: Path
):
    (tmp_path / "empty").mkdir()
    places = {
        "EMPTY": tmp_path / "empty",
        "MISSING": tmp_path / "missing",
        "PHOTOS": photos,
        "SNAPSHOT": snapshot,
        "OUT": tmp_path / "out",
        "configs": Path(__file__).resolve().parents[3] / "configs",
    }
    for word, place in places.items():
        arguments = [a.replace(word, str(place)) for a in arguments]
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert "error:" in result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_import_writes_a_snapshot_and_refuses_to_overwrite(tmp_path: Path):
    torch.manual_seed(0)
    torch.save(Released(SMALL).checkpoint(), tmp_path / "released.pth")
    out = tmp_path / "snapshot"
    assert run("import", tmp_path / "released.pth", out).exit_code == 0
    assert StyleALAE.load(out).model == SMALL
    assert "released.pth" in (out / "README.md").read_text()
    assert "its running average" in StyleALAE.load(out).origin
    again = run("import", tmp_path / "released.pth", out)
    assert again.exit_code == 1
    assert "exists" in again.output
    (tmp_path / "cut.pth").write_bytes((tmp_path / "released.pth").read_bytes()[:999])
    cut = run("import", tmp_path / "cut.pth", tmp_path / "other")
    assert cut.exit_code == 1
    assert "no whole checkpoint" in cut.output
    assert not (tmp_path / "other").exists()


def test_a_plan_has_its_table_first_in_eighty_columns_and_is_json_if_asked():
    small = ("plan", "demo", "model.resolution=8", "model.max_channels=16")
    shown = run(*small, "--gpus", "2", "--gpu", "h100").output
    tables = shown.split("the config, every key of it:")[0].splitlines()
    assert tables[0].startswith("stages of ")
    rows = [line.rstrip() for line in tables if "ESTIMATED" not in line and "give: " not in line]
    assert max(map(len, rows)) <= 80
    found = json.loads(run(*small, "--json").stdout)
    assert [stage["resolution"] for stage in found["stages"]] == [4, 8]
    assert found["config"]["model"]["max_channels"] == 16


def test_a_plan_says_what_its_images_lack(digits: Path, caplog: pytest.LogCaptureFixture):
    small = ("plan", "mnist/gan", f"data.path={digits}")
    assert run(*small).exit_code == 0
    assert not caplog.records
    assert run(*small, "model.resolution=64").exit_code == 0
    assert "has no images of 64x64, only of 32: prepare it" in caplog.text


def test_no_speed_in_bf16_is_told_of_a_gpu_without_it():
    assert [name for name, gpu in GPUS.items() if not gpu.bf16] == ["titan-rtx", "v100"]
    refused = run("plan", "demo", "--gpu", "v100", "engine.precision=bf16")
    assert refused.exit_code == 1
    assert "a v100 has no instructions: set engine.precision=fp16, or fp32" in refused.output


def test_plan_makes_a_run_fit_and_says_how(tmp_path: Path):
    config = str(Path(__file__).parents[3] / "configs" / "ffhq_1024.yaml")
    line = ("plan", config, "cluster.workers=[8]", "model.resolution=256", "--gpu-gib")
    roomy = run(*line, "80")
    assert roomy.exit_code == 0, roomy.output
    assert "engine.recompute_from=0 engine.offload=false" in roomy.output
    tight = run(*line, "0.7")
    assert tight.exit_code == 0, tight.output
    assert "engine.recompute_from=256" in tight.output
    hopeless = run(*line, "0.5")
    assert hopeless.exit_code == 1
    assert "does not fit" in hopeless.output or "needs" in hopeless.output
