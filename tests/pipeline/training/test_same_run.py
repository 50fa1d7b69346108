"""A run that is asked for something else says so: it goes on and names it, or it refuses."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pipeline.config import RunConfig, parse
from pipeline.storage import open_storage
from pipeline.training import checkpoints, snapshots
from pipeline.training.checkpoint_state import describe
from pipeline.training.resume import next_stage
from pipeline.training.same_run import require_same_request
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import CheckpointError
from stylealae.networks import build

FIRST, SECOND = 64, 96
ASKED = [
    "model.resolution=8", "model.start_channels=4", "model.max_channels=8", "model.z_width=8",
    "model.w_width=8", "model.mapping_layers=2", "schedule.batch=16", "schedule.total_img=0",
    f"schedule.stage_img={FIRST},{SECOND}", "data.path=sets/a",
]  # fmt: skip
DATA = "a" * 64


def asked(run_dir: Path, *more: str) -> RunConfig:
    return parse("", [*ASKED, f"run_dir={run_dir}", *more])


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run with a checkpoint and a snapshot at the end of both stages."""
    cfg, storage = asked(tmp_path / "run"), open_storage(tmp_path / "run")
    assert isinstance(cfg.model, ModelConfig)
    for stage, seen in enumerate((FIRST, FIRST + SECOND)):
        weights = {name: {"weight": torch.zeros(1)} for name in ("networks", "ema", "adam")}
        checkpoints.save(storage, weights, describe(cfg, stage, seen, DATA))
        m = StyleALAE(build(cfg.model), cfg.model, torch.zeros(4, 8), stage=stage, seen=seen)
        snapshots.finish_stage(storage, stage, m)
    return tmp_path / "run"


def begin(run_dir: Path, more: Sequence[str] = (), data: str = DATA) -> int | None:
    """The stage that the run goes on with."""
    cfg, storage = asked(run_dir, *more), open_storage(run_dir)
    stage = next_stage(cfg, storage)
    require_same_request(cfg, storage, data, complete=stage is None)
    return stage


def test_the_same_request_again_finds_a_complete_run(finished: Path) -> None:
    how = ["cluster.workers=4", "log.scalars_img=5", "checkpoint.keep=9", "engine.threads=1"]
    assert begin(finished) is None
    assert begin(finished, how) is None


@pytest.mark.parametrize(
    ("more", "data", "says"),
    [
        ([], "b" * 64, "data set .sets/a of digest aaaaaaaaaaaa there, sets/a of digest bbbbbbbb"),
        (["data.path=sets/b"], "b" * 64, "sets/a of digest a.* there, sets/b of digest b.* here"),
        (["seed=3"], DATA, r"seed \(0 there, 3 here\)"),
        (["model.mapping_layers=3"], DATA, r"mapping_layers \(2 there, 3 here\)"),
        (["schedule.lr=0.5"], DATA, r"complete.*schedule.lr was .*0.003\] and is \[0.5\]"),
        (["loss.r1_gamma=1"], DATA, "complete.*loss.r1_gamma was 10.0 and is 1.0"),
        (
            ["augment.mode=fixed", "augment.p=0.2"],
            DATA,
            "complete.*augment.mode was 'none' and is 'fixed'.*init.from=",
        ),
        (["init.from=runs/other"], DATA, r"init.from \(none there, runs/other here"),
        (["data.flip=no"], DATA, "complete.*data.flip was True and is False"),
        ([f"schedule.stage_img={FIRST},16"], DATA, "stage 1 .* after 160 images.*after 80:"),
        ([f"schedule.stage_img=32,{SECOND}"], DATA, "stage 0 .* after 64 images.*after 32:"),
        ([f"schedule.stage_img=128,{SECOND}"], DATA, "stage 0 .* after 64 images.*after 128:"),
    ],
)
def test_another_request_is_refused_by_what_differs(
    finished: Path, more: Sequence[str], data: str, says: str
) -> None:
    with pytest.raises(CheckpointError, match=says) as refused:
        begin(finished, more, data)
    assert "run_dir=runs/another" in str(refused.value)


def test_a_longer_last_stage_goes_on_and_says_so(
    finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert begin(finished, ["schedule.total_img=320"]) == 1
    assert "goes on with other settings than before: schedule.total_img was 0 and is 320" in (
        caplog.text
    )


def test_what_a_checkpoint_does_not_name_yet_was_the_default(
    finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for state in finished.rglob("state.json"):
        state.write_text(state.read_text().replace('"r1_every"', '"an_older_key"'))
    assert begin(finished) is None
    assert "this one does not have (loss.an_older_key): what they asked" in caplog.text
    with pytest.raises(CheckpointError, match=r"loss\.r1_every was 1 and is 4"):
        begin(finished, ["loss.r1_every=4"])
