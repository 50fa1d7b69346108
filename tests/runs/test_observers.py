"""Whoever watches a run is told what metrics.jsonl holds, is dropped if it fails, moves nothing."""

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipeline.config import RunConfig, as_dict
from pipeline.config.sections import CheckpointConfig, DataConfig, EngineConfig, LogConfig
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training import audit
from pipeline.training.checkpoints import Checkpoint, latest
from pipeline.training.observers import About, observers, show
from pipeline.training.trainer import train_stage
from pipeline.world import joined
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.errors import ConfigError

ROW = {"loss/critic": 1.5, "time/lr": 0.002}
HOOK = """
told = []

class Recorder:
    def __init__(self, about):
        told.append(about)

    def scalars(self, seen, values):
        told.append((seen, dict(values)))

    def picture(self, seen, tag, picture):
        told.append((seen, tag, picture.size))

    def close(self):
        told.append("closed")

class Broken(Recorder):
    def scalars(self, seen, values):
        raise ConnectionError("the tracker is down")

def refuses(about):
    raise RuntimeError("no token")
"""


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of one's own on the path."""
    (tmp_path / "of_mine.py").write_text(HOOK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "of_mine", raising=False)
    import of_mine

    return of_mine


def about(folder: Path, seen: int = 0) -> About:
    return About(folder=folder, seen=seen, config={"run_dir": str(folder), "seed": 3})


def trained(run_dir: Path, faces: Path, **given: Any) -> Mapping[str, torch.Tensor]:
    """Weights, average and Adam after six iterations at 4x4."""
    cfg = RunConfig(
        run_dir=str(run_dir),
        model=ModelConfig(
            resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
        ),
        schedule=ScheduleConfig(stage_img=(48,), total_img=0, batch=(8,), lr=(0.002,)),
        data=DataConfig(path=str(faces)),
        engine=EngineConfig(precision="fp32", threads=1, profile=given.pop("profile", 0)),
        checkpoint=CheckpointConfig(every_img=48),
        log=LogConfig(scalars_img=16, grid_img=1_000, grid_size=2, **given),
    )
    storage = open_storage(run_dir)
    assert train_stage(cfg, 0, joined(EngineConfig(threads=1), gpu=False), storage)
    checkpoint = latest(storage)
    assert checkpoint is not None
    return {
        f"{part}/{key}": value
        for part in ("networks", "ema", "adam")
        for key, value in checkpoint.tensors(part).items()
    }


def test_a_run_is_the_same_to_the_bit_whoever_watches(hook: Any, tmp_path: Path):
    faces = tmp_path / "faces"
    prepare(open_source("24", "rendered"), faces, (4, 8), workers=1)
    watched = trained(tmp_path / "with", faces, to=("tensorboard", "of_mine.Recorder"), profile=2)
    alone = trained(tmp_path / "without", faces, to=())
    assert watched.keys() == alone.keys()
    assert not [key for key in alone if not torch.equal(watched[key], alone[key])]

    rows = [json.loads(row) for row in (tmp_path / "with/metrics.jsonl").read_text().splitlines()]
    start, *told, end = hook.told
    assert (start.seen, start.config["log"]["grid_size"], end) == (0, 2, "closed")
    assert [{"seen": seen, **row} for seen, row in (t for t in told if len(t) == 2)] == rows
    assert [(seen, tag) for seen, tag, _ in (t for t in told if len(t) == 3)] == [
        (48, "image/reconstructions"), (48, "image/samples"),
    ]  # fmt: skip
    assert not (tmp_path / "without/tensorboard").exists()
    with gzip.open(tmp_path / "with/profile/0004-rank-000.json.gz") as stream:
        names = {event.get("name", "") for event in json.load(stream)["traceEvents"]}
    assert any(name.startswith("aten::") for name in names)


def test_an_audit_of_somebody_elses_run_calls_nobody(tmp_path: Path):
    theirs = RunConfig(log=LogConfig(to=("of_mine.Recorder",)), engine=EngineConfig(profile=3))
    end = Checkpoint(tmp_path, {"config": as_dict(theirs)}, str(tmp_path))
    cfg = audit._config(end, "", {})
    assert (cfg.log.to, cfg.engine.profile) == ((), 0)


def test_one_that_fails_is_dropped_and_the_others_go_on(
    hook: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    both = observers(["of_mine.Broken", "of_mine.Recorder"], about(tmp_path))
    both.scalars(8, ROW)
    both.scalars(16, ROW)
    both.close()
    assert hook.told[2:] == [(8, ROW), (16, ROW), "closed"]
    (warning,) = caplog.messages
    assert "of_mine.Broken" in warning
    assert "the tracker is down" in warning


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wandb", r"which needs wandb: pip install 'stylealae\[wandb\]'"),
        ("tensorbord", "it is none of tensorboard, wandb, mlflow"),
        ("of_mine.Absent", "nor a name in a module"),
        ("not_there.Watcher", "which needs not_there"),
        ("of_mine.refuses", r"does not begin \(no token\)"),
    ],
)
def test_one_that_cannot_begin_stops_the_run_before_its_first_step(
    hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=words):
        observers([name], about(tmp_path))


def test_events_lie_in_files_of_bounded_length_that_are_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended is sent to a bucket once, not with every checkpoint."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from pipeline.training import observers as module

    monkeypatch.setattr(module, "EVENTS_BYTES", 4000)
    watching = observers(["tensorboard"], about(tmp_path))
    for seen in range(100, 1000, 100):
        watching.scalars(seen, {"loss/critic": seen / 100})
        watching.picture(seen, "image/samples", Image.new("RGB", (32, 32)))
    watching.close()
    files = list((tmp_path / "tensorboard").rglob("events.*"))
    assert len(files) > 2
    events = EventAccumulator(str(files[0].parent)).Reload()
    assert sorted((e.step, e.value) for e in events.Scalars("loss/critic")) == [
        (seen, seen / 100) for seen in range(100, 1000, 100)
    ]
    assert len(events.Images("image/samples")) > 2


def test_tensorboard_shows_runs_by_name_with_config_environment_and_hyperparameters(tmp_path: Path):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    config = {"run_dir": "runs/faces", "seed": 3, "schedule": {"lr": [0.002], "cosine": True}}
    where = {"host": "here", "gpu": None, "versions": {"torch": "2.13.0"}}
    for seen in (0, 8):  # two stages
        told = About(folder=tmp_path / "faces", seen=seen, config=config, environment=where)
        watching = observers(["tensorboard"], told)
        watching.scalars(seen + 8, ROW)
        watching.picture(seen + 8, "image/samples", Image.new("RGB", (8, 8)))
        watching.close()
    show(tmp_path / "faces", "image/pairs", Image.new("RGB", (8, 8)), 16)

    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "faces/tensorboard")).Reload()
    assert list(runs.Runs()) == ["faces"]
    events = runs.GetAccumulator("faces")
    assert [e.step for e in events.Scalars("loss/critic")] == [8, 16]
    assert set(events.Tags()["images"]) == {"image/samples", "image/pairs"}
    texts = {
        name: events.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()
        for name in ("config", "environment")
    }
    assert '"seed": 3' in texts["config"]
    assert "| versions.torch | 2.13.0 |" in texts["environment"]
    assert "gpu" not in texts["environment"]
    begun = metadata.parse_session_start_info_plugin_data(
        events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    )
    values = {key: value for key, value in begun.hparams.items()}
    assert values["seed"].number_value == 3
    assert values["schedule.cosine"].number_value == 1
    assert values["schedule.lr"].string_value == "[0.002]"


def test_an_earlier_run_goes_on_where_its_events_are(tmp_path: Path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/events.out.tfevents.1.host").touch()
    watching = observers(["tensorboard"], about(tmp_path))
    watching.scalars(8, ROW)
    watching.close()
    assert all(file.is_file() for file in (tmp_path / "tensorboard").iterdir())


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    for key, value in {"MODE": "offline", "SILENT": "true", "DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    watching = observers(["wandb"], about(tmp_path))
    watching.scalars(8, ROW)
    watching.picture(8, "image/samples", Image.new("RGB", (8, 8)))
    watching.close()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"loss/critic" in file.read_bytes()
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/image/*.png"))


def test_mlflow_goes_on_with_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    for seen in (8, 16):  # two stages
        watching = observers(["mlflow"], about(tmp_path, seen))
        watching.scalars(seen, {**ROW, "loss/critic": float(seen)})
        watching.picture(seen, "image/samples", Image.new("RGB", (8, 8)))
        watching.close()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("stylealae")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["seed"] == "3"
    history = client.get_metric_history(run.info.run_id, "loss/critic")
    assert [(point.step, point.value) for point in history] == [(8, 8.0), (16, 16.0)]
    files = client.list_artifacts(run.info.run_id, "image/samples")
    assert [Path(file.path).name for file in files] == ["0000000008.png", "0000000016.png"]
