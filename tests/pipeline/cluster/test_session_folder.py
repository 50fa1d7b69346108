"""The folder of a Ray of our own is for nobody else, and is gone afterwards, even after a kill."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cluster.session_folder import session_folder

KILLED = """
import os, signal
from pipeline.cluster.session_folder import session_folder
with session_folder() as folder:
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


def test_nobody_else_can_enter_and_it_goes_when_we_go(parent: Path) -> None:
    with session_folder() as folder:
        assert folder.parent == parent
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "session_1").mkdir()
    assert not [*parent.iterdir()]


def test_what_a_killed_process_left_is_removed_by_the_next(parent: Path) -> None:
    shown = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    left = Path(shown.stdout.strip())
    assert shown.returncode == -9
    assert left.is_dir()
    with session_folder():
        assert not left.exists()


def test_the_folder_of_who_lives_and_of_others_stays(parent: Path) -> None:
    with session_folder() as first, session_folder():
        assert first.is_dir()
    strange = parent / "stylealae-ray-link"
    strange.symlink_to(parent)
    with session_folder():
        assert strange.is_symlink()
    assert parent.is_dir()
