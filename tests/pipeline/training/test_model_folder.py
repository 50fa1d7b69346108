"""Which snapshot a command takes, and what is named where there is none."""

from pathlib import Path

import pytest

from pipeline.training.model_folder import snapshot_of
from stylealae.errors import CheckpointError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two finished stages, of which one has five digits, and a folder that is a copy."""
    for stage in ("0008", "16384", "0016-copy"):
        snapshot = tmp_path / "runs/demo" / stage / "snapshot"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
    return tmp_path / "runs/demo"


def test_a_snapshot_is_itself_and_a_run_its_newest(run: Path) -> None:
    newest = run / "16384/snapshot"
    assert snapshot_of(run) == newest
    assert snapshot_of(newest) == newest
    assert snapshot_of(run / "0008/snapshot") == run / "0008/snapshot"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("runs", "runs/demo"),
        ("runs/demo/0008", "runs/demo/0008/snapshot"),
        ("runs/dmo", "runs/demo"),
        ("runs/demo/16384/snapshots", "runs/demo/16384/snapshot"),
        ("runs/demo/8/snapshot", "runs/demo/0008/snapshot"),
        ("runs/dmo/0008/snapshot", "runs/demo/0008/snapshot"),
    ],
)
def test_a_near_miss_is_named(run: Path, given: str, near: str) -> None:
    root = run.parents[1]
    with pytest.raises(CheckpointError, match=f"did you mean {root / near}\\?"):
        snapshot_of(root / given)


def test_what_is_far_from_any_snapshot_has_its_reason(tmp_path: Path) -> None:
    begun = tmp_path / "begun/0004/seen-0000000100"
    begun.mkdir(parents=True)
    with pytest.raises(CheckpointError, match="its first stage is not finished"):
        snapshot_of(tmp_path / "begun")
    with pytest.raises(CheckpointError, match="give a folder such as runs/demo"):
        snapshot_of(begun)
    with pytest.raises(CheckpointError, match="far/away does not exist: give a folder such as"):
        snapshot_of(tmp_path / "far/away")
    released = tmp_path / "released.pth"
    released.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"is a file.*stylealae import.*--directions"):
        snapshot_of(released)


def test_a_newest_snapshot_that_is_half_copied_is_not_passed_over(run: Path) -> None:
    (run / "16384/snapshot/config.json").rename(run / "16384/snapshot/model.safetensors")
    with pytest.raises(CheckpointError, match=r"16384/snapshot .* no config\.json.*0008/snapshot"):
        snapshot_of(run)
    assert snapshot_of(run / "0008/snapshot") == run / "0008/snapshot"
