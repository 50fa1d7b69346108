"""`stylealae verify` and `stylealae inspect`, as a person types them."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from tests.pipeline.data.handmade import shard_path


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_whole_dataset_verifies(dataset: Path, form: str) -> None:
    result = run("verify", form.format(dataset))
    assert result.exit_code == 0, result.output
    assert "is whole" in result.output


def test_faults_are_named_and_the_exit_code_tells(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    shard_path(copy, 0, 4).unlink()
    longer = shard_path(copy, 1, 8)
    longer.write_bytes(longer.read_bytes() + bytes(512))
    flipped = bytearray(shard_path(copy, 2, 16).read_bytes())
    flipped[3000] ^= 1
    shard_path(copy, 2, 16).write_bytes(flipped)
    result = run("verify", copy)
    assert result.exit_code == 1
    told = result.stdout.splitlines()
    assert len(told) == 3
    assert "r0004/000000.tar is missing" in told[0]
    assert "r0008/000001.tar has" in told[1]
    assert "r0016/000002.tar is damaged: the block of images 0 to 19" in told[2]
    assert "has 3 faults" in result.output


def test_inspect_tells_and_draws(dataset: Path, tmp_path: Path) -> None:
    result = run("inspect", dataset, "--out", tmp_path / "pictures", "--count", "5")
    assert result.exit_code == 0, result.output
    for told in (
        *("folder", "84 images in 5 shards", "16 images in 1 shards", "32x32", "block"),
        *("0 to 24.75", "even 50, odd 50"),
    ):
        assert told in result.output
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["0004.png", "0008.png", "0016.png", "0032.png"]
    assert Image.open(tmp_path / "pictures" / "0032.png").width > 5 * 64


def test_a_split_of_which_every_image_was_refused_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"in/{name}.png")
    (tmp_path / "in/c.png").write_bytes(b"")
    source = open_source(str(tmp_path / "in"), test_fraction=0.34)
    prepare(source, tmp_path / "d", (4,), workers=1)
    assert run("inspect", tmp_path / "d", "--out", tmp_path / "pictures").exit_code == 0


def test_inspect_gives_the_same_as_json(dataset: Path) -> None:
    found = json.loads(run("inspect", dataset, "--json").stdout)
    assert "images in" in found["split train"]
    assert isinstance(found["refused"], list)


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_what_is_no_dataset_is_a_sentence(command: str, tmp_path: Path) -> None:
    result = run(command, tmp_path)
    assert result.exit_code == 1
    assert "holds no manifest.json" in result.output


def test_names_from_a_manifest_neither_style_the_terminal_nor_steer_it(
    dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "[red]copy\x1b[2J"
    shutil.copytree(dataset, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["licence"] = "[bold red]free\x1b]0;owned\x07 \u202egnp.exe[/bold]"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    result = run("inspect", copy)
    assert "[bold red]free\N{REPLACEMENT CHARACTER}]0;owned" in result.output
    (copy / "manifest.json").unlink()
    missing = run("inspect", copy)
    assert "[red]copy\N{REPLACEMENT CHARACTER}[2J" in missing.output
    for shown in (result.output, missing.output):
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
