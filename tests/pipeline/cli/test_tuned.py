"""`refine --tune` and `tuned:FILE`: a person is kept in a file, and drawn by every tool from it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing.refinement import psnr
from stylealae.editing.tuning import Tuning
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
REFINE = ("refine", "model", "me.png", "--steps", "2", "--tune-steps", "3", "--out", "out.png")


def told(*words: str) -> dict[str, Any]:
    """Runs a command that must succeed; its line of JSON."""
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


def error(*words: str) -> str:
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 1, shown.output
    return shown.stderr


@pytest.fixture
def tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A model, a photo, and a tuning of the one to the other."""
    monkeypatch.chdir(tmp_path)
    for seed, folder in ((1, "model"), (2, "other")):
        Path(folder).mkdir()
        StyleALAE(build(SMALL, seed), SMALL, torch.zeros(6, 8), stage=2).save(Path(folder))
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("me.png")
    return told(*REFINE, "--tune", "me.safetensors")


def test_it_says_what_was_gained_and_what_was_changed(tuned: dict[str, Any]) -> None:
    assert tuned["tuned_psnr_db"] > tuned["refined_psnr_db"] >= tuned["psnr_db"]
    assert tuned["far_db"] > 20
    assert tuned["tuning_kib"] < 100
    assert Image.open("out.png").height > 0


def test_every_tool_that_takes_faces_takes_the_person(tuned: dict[str, Any]) -> None:
    me = "tuned:me.safetensors"
    for words in (
        ("encode", "model", me, "--out", "w.npy"),
        ("reconstruct", "model", me, "seed:1", "--out", "out.png"),
        ("mix", "model", me, "--with", "seed:1", "--out", "out.png"),
        ("mix", "model", "seed:1", "--with", me, "--with", "me.png", "--out", "out.png"),
        ("interpolate", "model", me, "seed:1", "--steps", "3", "--out", "out.png"),
    ):
        told(*words)
    assert json.loads(Path("w.json").read_text()) == ["me.png"]
    told("directions", "model", "--principal", "2")
    told("traverse", "model", me, "--steps", "3", "--out", "out.png")
    told("edit", "model", me, "-a", "pc1=1", "--out", "edited.png")
    m, held = StyleALAE.load("model"), Tuning.load(Path("me.safetensors"))
    x = m.tuned(held).generate(held.w, noise=False)
    assert not torch.equal(x, m.generate(held.w, noise=False))


def test_a_person_without_a_name_is_called_as_the_file_is(tuned: dict[str, Any]) -> None:
    held = Tuning.load(Path("me.safetensors"))
    replace(held, names=()).save(Path("face.safetensors"))  # as the studio's
    replace(held, w=held.w.repeat(2, 1, 1), names=()).save(Path("two.safetensors"))
    told("encode", "model", "tuned:face.safetensors", "--out", "w.npy")
    assert json.loads(Path("w.json").read_text()) == ["face"]
    told("encode", "model", "tuned:two.safetensors", "--out", "w.npy")
    assert json.loads(Path("w.json").read_text()) == ["two 1", "two 2"]
    told("mix", "model", "tuned:face.safetensors", "--with", "seed:1", "--out", "out.png")


def test_the_last_stage_of_a_run_is_drawn_by_the_tuned_generator(tuned: dict[str, Any]) -> None:
    shutil.copytree("model", "run/0016/snapshot")
    words = ("reconstruct", "run", "tuned:me.safetensors", "--out", "out.png")
    db = told(*words)["psnr_db"]
    assert told(*words, "--stages")["psnr_db"]["16x16"] == pytest.approx(db, abs=1e-4)
    m = StyleALAE.load("model")
    held = Tuning.load(Path("me.safetensors"))
    x = m.tuned(held).generate(held.w, noise=False)
    assert float(psnr(x, m.reconstruct(x))) != pytest.approx(db, abs=1e-4)


def test_what_cannot_be_is_a_sentence(tuned: dict[str, Any]) -> None:
    assert "me.safetensors exists: name another file, or replace it with --overwrite" in error(
        *REFINE, "--tune", "me.safetensors"
    )
    told(*REFINE, "--tune", "me.safetensors", "--overwrite")
    assert "end it in .safetensors" in error(*REFINE, "--tune", "me.npy")
    again = ("refine", "model", "me.png", "tuned:me.safetensors", "--out", "out.png")
    assert "tuned:me.safetensors is drawn by a tuned one" in error(
        *again, "--tune", "b.safetensors"
    )
    assert not Path("b.safetensors").exists()
    told(*again, "--steps", "1")
    other = ("reconstruct", "other", "tuned:me.safetensors", "--out", "out.png")
    assert "use the snapshot that was tuned" in error(*other)
    told(*REFINE, "--tune", "you.safetensors")
    two = ("mix", "model", "tuned:me.safetensors", "--with", "tuned:you.safetensors")
    assert "are tunings of two generators: name one" in error(*two, "--out", "out.png")
