"""Every block of docs/cookbook.md runs, in order, on a small model and rendered faces."""

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.rendered.faces import render
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build

COOKBOOK = (Path(__file__).resolve().parents[1] / "docs/cookbook.md").read_text()
SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
EYES = [[26.0, 30.0], [38.0, 30.0], [28.0, 44.0], [36.0, 44.0]]
FACES = 40


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the cookbook speaks of."""
    monkeypatch.chdir(tmp_path)
    snapshot = tmp_path / "runs/demo/0032/snapshot"
    snapshot.mkdir(parents=True)
    StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2, seen=100).save(snapshot)
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = []
    for i in range(FACES):
        image, labels = render(i, 64)
        Image.fromarray(image).save(photos / f"{i}.png")
        rows.append({"file": f"{i}.png", **labels})
    with (photos / "labels.csv").open("w") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    (tmp_path / "landmarks.json").write_text(json.dumps({f"{i}.png": EYES for i in range(FACES)}))
    return tmp_path


def test_every_block_runs(kitchen: Path):
    names: dict[str, Any] = {}
    blocks = re.findall(r"```(sh|python)\n(.*?)```", COOKBOOK, re.S)
    assert {kind for kind, _ in blocks} == {"sh", "python"}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "cookbook.md", "exec"), names)
            continue
        for line in text.splitlines():
            _, *words = shlex.split(line)
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, f"{line}: {result.output} {result.exception!r}"
            numbers = json.loads(result.stdout.splitlines()[-1])
            assert numbers["command"] == words[0]
            out = kitchen / words[words.index("--out") + 1] if "--out" in words else kitchen
            assert out.exists()
    card = (kitchen / "exported/demo/README.md").read_text()
    assert card.startswith("---\nlicense:")
    assert (kitchen / "exported/demo/directions.json").exists()
