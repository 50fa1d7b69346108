"""`make demo` and launch/demo.py: the input that was named, in folders of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from launch.demo import folder_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["anna's photos.zip", "photos #1", 'say "x"', "cost $5", "a;b&c"])
def test_make_hands_a_name_on_as_it_is(name: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    words = ["make", "-s", "-o", ".venv/ready", f"BIN={tmp_path}", "demo", f"DATA={name}", "RES=8"]
    asked = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "ARGS"}  # of the make that runs the suite
    env = {key: value for key, value in os.environ.items() if key not in asked}
    said = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=True, env=env
    ).stdout
    assert said.splitlines() == ["launch/demo.py", f"input={name}", "model.resolution=8"]


def test_inputs_of_one_name_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    names = [folder_name(path) for path in ("faces.zip", "a/faces.zip", "b/faces.zip")]
    assert names == ["faces", "a-faces", "b-faces"]
    assert folder_name("~/faces.zip") == folder_name("./faces.zip") == "faces"
    elsewhere = {folder_name(f"../{path}/faces.zip") for path in ("a", "b")}
    assert len(elsewhere) == 2
    assert all(name.startswith("faces-") for name in elsewhere)
