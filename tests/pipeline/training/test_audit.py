"""`stylealae audit`: an honest run is replayed bit for bit, and whatever was altered is found."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from pipeline.cli.app import main
from pipeline.config import RunConfig
from pipeline.config.sections import CheckpointConfig, DataConfig, EngineConfig, LogConfig
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.storage.publish import MANIFEST, write_manifest
from pipeline.training import post_training
from pipeline.training.audit import audit, stretch_of
from pipeline.training.certificate import Certificate
from pipeline.training.trainer import train_stage
from pipeline.world import World
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.errors import CheckpointError, DataError
from tests.pipeline.storage.bucket import bucket
from tests.ranks import run_ranks

BATCH, FIRST, SECOND, EVERY = 8, 32, 48, 24
END = FIRST + SECOND
LAST = f"0008/seen-{END:010d}"


def prepared(folder: Path) -> Path:
    prepare(open_source("32", "rendered"), folder, (4, 8), workers=1)
    return folder


def config(folder: Path) -> RunConfig:
    """Four iterations at 4x4 and six at 8x8, a checkpoint every third, a row every second one."""
    model = ModelConfig(
        resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
    )
    schedule = ScheduleConfig(stage_img=(FIRST, SECOND), total_img=0, batch=(BATCH,), lr=(0.002,))
    return RunConfig(
        run_dir=str(folder / "run"), model=model, schedule=schedule,
        data=DataConfig(path=str(folder / "faces")),
        engine=EngineConfig(precision="fp32", threads=1),
        checkpoint=CheckpointConfig(every_img=EVERY, keep=9),
        log=LogConfig(scalars_img=2 * BATCH, grid_img=1_000, grid_size=2),
    )  # fmt: skip


def trained(cfg: RunConfig, world: World) -> RunConfig:
    for stage in cfg.stages:
        assert train_stage(cfg, stage, world, open_storage(cfg.run_dir))
    return cfg


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """The folder of a run and its data set."""
    folder = tmp_path_factory.mktemp("honest")
    prepared(folder / "faces")
    trained(config(folder), world)
    return folder


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    """A copy to alter."""
    return Path(shutil.copytree(honest, tmp_path / "copy"))


def audited(folder: Path, world: World, **given: Any) -> Certificate:
    stretch = stretch_of(
        open_storage(folder / "run"), given.pop("upto", None), str(folder / "faces")
    )
    found = audit(stretch, world, **given)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("upto", "first", "rows"),
    [(FIRST, 0, 2), (48, FIRST, 1), (72, 48, 1), (END, 72, 0)],
)
def test_every_stretch_of_an_honest_run_is_replayed_bit_for_bit(
    upto: int, first: int, rows: int, honest: Path, world: World
) -> None:
    found = audited(honest, world, upto=upto)
    assert (found.verdict, found.differences) == ("bit for bit", [])
    assert (found.first, found.last, found.rows) == (first, upto, rows)
    assert found.iterations == (upto - first) // BATCH
    assert set(found.distances.values()) == {0.0}


def test_a_replay_leaves_the_run_as_it_was(folder: Path, world: World) -> None:
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    audited(folder, world)
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before


def rehashed(checkpoint: Path) -> None:
    """Has the manifest say what is there, as a forger would."""
    (checkpoint / MANIFEST).unlink()
    write_manifest(checkpoint)


def altered(part: str, checkpoint: str, by: float = 1e-6) -> Callable[[Path], None]:
    """One number of a checkpoint a little off, hashes and all."""

    def alter(run: Path) -> None:
        file = run / checkpoint / f"{part}.safetensors"
        tensors = load_file(file)
        name = max(tensors, key=lambda name: tensors[name].numel())
        tensors[name].view(-1)[0] += by
        save_file(tensors, file)
        rehashed(file.parent)

    return alter


def with_another_config(run: Path) -> None:
    for state in run.glob("*/seen-*/state.json"):
        found = json.loads(state.read_text())
        found["config"]["loss"]["r1_gamma"] *= 1.01
        state.write_text(json.dumps(found))
        rehashed(state.parent)


def with_a_better_loss(run: Path) -> None:
    log = run / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    (row,) = (row for row in rows if row["seen"] == 64)
    row["loss/critic"] *= 0.999
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))


def without_a_row(run: Path) -> None:
    log = run / "metrics.jsonl"
    lines = log.read_text().splitlines(True)
    log.write_text("".join(line for line in lines if '"seen": 64' not in line))


@pytest.mark.parametrize(
    ("alter", "found"),
    [
        pytest.param(altered("networks", "0008/seen-0000000072"), "weights", id="weights"),
        pytest.param(altered("ema", "0008/seen-0000000072"), "averages", id="averages"),
        pytest.param(altered("adam", "0008/seen-0000000072"), "moments", id="moments"),
        pytest.param(altered("networks", "0008/seen-0000000048"), "weights", id="the beginning"),
        pytest.param(with_another_config, "weights", id="config"),
        pytest.param(with_a_better_loss, "losses", id="log"),
        pytest.param(without_a_row, "metrics.jsonl", id="a row gone"),
    ],
)
def test_what_was_altered_is_found(
    alter: Callable[[Path], None], found: str, folder: Path, world: World
) -> None:
    alter(folder / "run")
    certificate = audited(folder, world, upto=72)
    assert certificate.verdict == "differs"
    assert found in {difference.partition(":")[0] for difference in certificate.differences}


def test_a_snapshot_that_is_not_the_averages_is_found(folder: Path, world: World) -> None:
    file = folder / "run/0008/snapshot/model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] += 1e-6
    save_file(tensors, file)
    rehashed(file.parent)
    (difference,) = audited(folder, world).differences
    assert difference.startswith("the snapshot")


@pytest.mark.parametrize("alike", [True, False], ids=["these kernels", "other kernels"])
def test_a_snapshot_that_was_worked_on_is_made_again_or_left_out(
    alike: bool, honest: Path, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_training, "STEPS", 20)
    shutil.copytree(honest / "faces", tmp_path / "faces")
    cfg = config(tmp_path)
    trained(replace(cfg, loss=replace(cfg.loss, prior_img=16, recover_img=16)), world)
    if not alike:
        log = tmp_path / "run/environment.jsonl"
        log.write_text(log.read_text().replace('"capability": "', '"capability": "not '))
    assert audited(tmp_path, world).verdict == "bit for bit"
    for letter, found in (("F", alike), ("D", True)):
        file = tmp_path / "run/0008/snapshot/model.safetensors"
        before = file.read_bytes()
        tensors = load_file(file)
        next(t for name, t in tensors.items() if name.startswith(letter)).view(-1)[0] += 1e-6
        save_file(tensors, file)
        rehashed(file.parent)
        said = audited(tmp_path, world).differences
        assert [line.partition(":")[0] for line in said] == (["the snapshot"] if found else [])
        file.write_bytes(before)
        rehashed(file.parent)


def test_a_checkpoint_that_is_not_as_its_hashes_say_is_damaged(folder: Path) -> None:
    file = folder / f"run/{LAST}/ema.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match=r"0008/seen-0000000080 is damaged: .*ema"):
        stretch_of(open_storage(folder / "run"))


def test_another_data_set_is_found(folder: Path, world: World) -> None:
    shutil.rmtree(folder / "faces")
    prepare(open_source("24", "rendered"), folder / "faces", (4, 8), workers=1)
    with pytest.raises(CheckpointError, match="data set"):
        audited(folder, world)


def test_another_pixel_is_found(folder: Path, world: World) -> None:
    for tar in folder.glob("faces/r0008/*.tar"):
        held = bytearray(tar.read_bytes())
        held[700:2000] = bytes(value ^ 1 for value in held[700:2000])
        tar.write_bytes(held)
    with pytest.raises(DataError):
        audited(folder, world)


def test_on_other_kernels_a_tolerance_decides(folder: Path, world: World) -> None:
    log = folder / "run/environment.jsonl"
    log.write_text(log.read_text().replace('"capability": "', '"capability": "not '))
    assert audited(folder, world).verdict == "bit for bit"
    altered("networks", LAST, by=0.05)(folder / "run")
    found = audited(folder, world, tolerance=0.1)
    assert (found.verdict, found.holds) == ("within 0.1", True)
    assert 0.0 < found.distances["weights"] < 0.1
    assert audited(folder, world, tolerance=1e-6).verdict == "differs"


def test_a_row_that_began_elsewhere_is_left_out(folder: Path, world: World) -> None:
    run = folder / "run"
    for name in (LAST, "0008/snapshot"):
        shutil.rmtree(run / name)
    assert train_stage(config(folder), 1, world, open_storage(run))
    shutil.rmtree(run / "0008/seen-0000000072")  # the row of 80 images began there
    found = audited(folder, world)
    assert (found.first, found.verdict, found.rows) == (48, "bit for bit", 1)


def test_a_checkpoint_that_is_not_there_is_named(honest: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint of 50 images .* 32, 48, 72, 80"):
        stretch_of(open_storage(honest / "run"), 50)


def test_a_run_in_a_bucket_is_replayed_to_the_bit(
    honest: Path, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(honest / "faces", tmp_path / "faces")
    with bucket() as store:
        store.upload(tmp_path / "nothing", "s3://audited/none")  # makes the bucket
        trained(replace(config(tmp_path), run_dir="s3://audited/run"), world)
        storage = open_storage("s3://audited/run")
        shutil.rmtree(storage.working)  # as on another host
        found = audit(stretch_of(storage, data=str(tmp_path / "faces")), world)
    assert found is not None
    assert (found.verdict, found.differences, found.rows) == ("bit for bit", [], 0)
    assert found.there["kernels"] == found.here["kernels"]


def on_two_ranks(world: World) -> dict[str, Any] | None:
    """Trains, and replays with as many."""
    folder = Path(os.environ["AUDITED"])
    trained(config(folder), world)
    found = audit(stretch_of(open_storage(folder / "run"), 48), world)
    return found and {"verdict": found.verdict, "ranks": found.ranks, "order": found.order}


def test_two_ranks_are_replayed_by_two_to_the_bit_and_by_one_about(
    honest: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(honest / "faces", tmp_path / "faces")
    monkeypatch.setenv("AUDITED", str(tmp_path))
    first, second = run_ranks(2, on_two_ranks, tmp_path)
    alone = audited(tmp_path, world, upto=48)
    assert second is None
    assert first == {"verdict": "bit for bit", "ranks": 2, "order": alone.order}
    assert (alone.verdict, alone.ranks) == ("within 0.1", 1)


def test_the_command_writes_a_certificate_and_leaves_with_1_if_the_run_differs(
    folder: Path, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "certificates/honest.json"
    asked = ["audit", str(folder / "run"), "--data", str(folder / "faces"), "--out", str(out)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "weights   equal" in done.output
    found = json.loads(out.read_text())
    assert found["verdict"] == "bit for bit"
    assert found["here"]["kernels"] == found["there"]["kernels"]
    assert found["hashes"].keys() == {"0008/seen-0000000072", LAST}
    altered("adam", LAST)(folder / "run")
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1
    assert "differs" in done.output
    assert "moments" in done.output
