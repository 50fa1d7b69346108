"""docs/quickstart.ipynb runs from top to bottom, on fewer images than a reader would take."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs/quickstart.ipynb"
SMALL = {"faces": 100, "schedule": "[64,64,64]"}


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here = tmp_path / "docs"
    here.mkdir()
    monkeypatch.chdir(here)
    names: dict[str, Any] = {}
    pictures = []
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "install" in tags:
            continue
        if "parameters" in tags:
            exec("".join(cell["source"]), names)
            assert SMALL.keys() <= names.keys()
            names.update(SMALL)
            continue
        *lines, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(lines, []), cell["id"], "exec"), names)
        if isinstance(last, ast.Expr):  # what a notebook shows
            pictures.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), names))
        else:
            exec(compile(ast.Module([last], []), cell["id"], "exec"), names)
    shown = [picture for picture in pictures if isinstance(picture, Image.Image)]
    assert len(shown) == 3
    assert all(min(picture.size) > 16 for picture in shown)
    assert not any(here.iterdir())  # what it makes lies beside docs/
    assert names["w"].shape == (8, names["m"].code_width)
