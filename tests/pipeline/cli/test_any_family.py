"""The commands that take models of every family, on untrained ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.numpy import load_file

from pipeline.cli.app import main
from pipeline.cli.models import open_any, open_model
from pipeline.config import parse
from stylealae.families import FAMILIES
from stylealae.families.stylealae_separate.model import SeparateModel

SHAPES = {
    "stylealae_separate": {
        "resolution": 8, "channels": 1, "start_channels": 4, "max_channels": 4, "z_width": 4,
        "w_width": 4, "mapping_layers": 1,
    },
    "alae": {"hidden": 8, "z_width": 3, "w_width": 4, "mapping_hidden": 4},
}  # fmt: skip


def saved(name: str, folder: Path) -> Path:
    """The snapshot of a model of random weights."""
    shape = SHAPES.get(name, {"hidden": 8, "z_width": 3})
    label = "data: {label: class}\n" if "aae_" in name else ""
    cfg = parse(f"family: {name}\n{label}model: {json.dumps(shape)}")
    nets = FAMILIES[name].build(cfg.model, 0)
    m = FAMILIES[name].model(nets, nets.means(), cfg.model, stage=cfg.last_stage, seen=10)
    (folder / name).mkdir()
    m.save(folder / name)
    return folder / name


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refusal(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 1
    return result.output


@pytest.mark.parametrize("name", ["aae", "gan", "alae", "aae_classes", "aae_supervised"])
def test_new_images_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    snapshot, out = saved(name, tmp_path), tmp_path / "new.png"
    assert run("sample", snapshot, "--count", "3", "--seed", "5", "--out", out).exit_code == 0
    drawn = np.asarray(Image.open(out).convert("L"))
    wanted = open_any(snapshot).sample(3, seed=5)[0, 0].add(1).mul(127.5).round().numpy()
    cell = drawn[12:76, -3 * 66 - 10 : -2 * 66 - 12]  # the first of three, twice as large
    assert np.array_equal(cell[::2, ::2], wanted)
    assert run("sample", snapshot, "--seeds", "0,7", "--out", out).exit_code == 0
    assert "leave them out" in refusal("sample", snapshot, "--truncation", "0.7", "--out", out)


@pytest.mark.parametrize(("name", "letter", "width"), [("aae", "z", 3), ("alae", "w", 4)])
def test_images_are_reconstructed_and_encoded(
    name: str, letter: str, width: int, digits: Path, tmp_path: Path
) -> None:
    snapshot, out = saved(name, tmp_path), tmp_path / "again.png"
    result = run("reconstruct", snapshot, "seed:3", digits, "--count", "4", "--out", out)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout.splitlines()[-1])
    assert (said["images"], said["resolution"]) == (4, 32)
    assert Image.open(out).height > 150
    file = tmp_path / "codes.safetensors"
    assert run("encode", snapshot, digits, "--count", "4", "--out", file).exit_code == 0
    assert load_file(file)[letter].shape == (4, width)
    assert "does not grow" in refusal("reconstruct", snapshot, digits, "--stages", "--out", out)
    assert "tuned: is of a StyleALAE" in refusal("encode", snapshot, "tuned:a", "--out", file)


def test_what_a_family_cannot_do_is_said(digits: Path, tmp_path: Path) -> None:
    gan, supervised = saved("gan", tmp_path), saved("aae_supervised", tmp_path)
    out = tmp_path / "out.png"
    assert "reconstructs nothing" in refusal("reconstruct", gan, digits, "--out", out)
    assert "has no encoder E" in refusal("encode", gan, digits, "--out", tmp_path / "a.npy")
    assert "takes an image's class" in refusal("reconstruct", supervised, digits, "--out", out)
    said = refusal("interpolate", gan, "seed:1", "seed:2", "--out", out)
    assert "of the family 'gan', and this is done with the styles of a StyleALAE" in said


def test_the_ablation_with_an_encoder_of_its_own_has_the_commands_of_styles(tmp_path: Path) -> None:
    snapshot, out = saved("stylealae_separate", tmp_path), tmp_path / "way.png"
    assert isinstance(open_model(snapshot), SeparateModel)
    assert run("interpolate", snapshot, "seed:1", "seed:2", "--out", out).exit_code == 0
    assert run("sample", snapshot, "--truncation", "0.5", "--out", out).exit_code == 0
