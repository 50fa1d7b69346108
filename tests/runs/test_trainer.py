"""A run in miniature: two stages that end in snapshots, and stopping that leaves no trace.

Checked in this process, on one rank, with rendered faces at 4x4 and 8x8.  Only the distance at
which the stop flag is looked at is changed: 256 images are more than these stages have.
"""

import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.config.sections import CheckpointConfig, DataConfig, EngineConfig, LogConfig
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.training import checkpoints, trainer
from pipeline.training.async_checkpoint import Saver
from pipeline.training.checkpoints import Checkpoint, latest
from pipeline.training.progress import ProgressUpdate
from pipeline.training.run_files import stage_folder
from pipeline.training.snapshots import is_done
from pipeline.world import World
from stylealae import StyleALAE, tensor_file
from stylealae.config import LossConfig, ModelConfig, ScheduleConfig
from stylealae.errors import CheckpointError, ConfigError, DataError, DivergenceError
from stylealae.families import FAMILIES
from stylealae.networks import Networks
from stylealae.phase_inputs import StyleInputs
from stylealae.phases import phases_of
from stylealae.schedule import Growth

pytestmark = pytest.mark.early
BATCH, FIRST, SECOND = 8, 64, 96
END = FIRST + SECOND
FADE = SECOND // 2
SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
PARTS = ("networks", "ema", "adam")


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 rendered faces at 4x4, 8x8 and 16x16."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("64", "rendered"), out, (4, 8, 16), workers=1)
    return out


@pytest.fixture(autouse=True)
def stop_is_asked_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """See the head of this file."""
    monkeypatch.setattr("pipeline.training.trainer.STOP_POLL_IMG", BATCH)


def config(run_dir: Path, faces: Path) -> RunConfig:
    """Eight iterations at 4x4, twelve at 8x8, six of them fading."""
    return RunConfig(
        run_dir=str(run_dir),
        seed=5,
        model=SMALL,
        schedule=ScheduleConfig(
            stage_img=(FIRST, SECOND), total_img=0, batch=(BATCH,), lr=(0.002,),
            ema_half_life_img=100,
        ),
        data=DataConfig(path=str(faces)),
        engine=EngineConfig(precision="fp32", threads=1),
        checkpoint=CheckpointConfig(every_img=24, keep=2),
        log=LogConfig(scalars_img=16, grid_img=1_000, grid_size=2),
    )  # fmt: skip


def train_stage(cfg: RunConfig, stage: int, world: World, **given: Any) -> bool:
    """One stage of a run, where the config says that it lies."""
    return trainer.train_stage(cfg, stage, world, open_storage(cfg.run_dir), **given)


def after(iterations: int) -> Callable[[], bool]:
    """A stop flag that is raised after some iterations."""
    left = iterations

    def stop() -> bool:
        nonlocal left
        left -= 1
        return left <= 0

    return stop


def train(
    cfg: RunConfig,
    world: World,
    stops: Sequence[int] = (),
    report: Callable[[ProgressUpdate], None] = lambda _: None,
) -> None:
    """The whole run, interrupted when these many images have been shown, and given again."""
    seen, pending = 0, list(stops)
    for stage in range(cfg.last_stage + 1):
        while not is_done(open_storage(cfg.run_dir), stage):
            flag = after((pending[0] - seen) // BATCH) if pending else lambda: False
            done = train_stage(cfg, stage, world, stop=flag, report=report)
            seen = found(cfg).state["seen"]
            if pending and seen == pending[0]:
                pending.pop(0)
                assert done == is_done(open_storage(cfg.run_dir), stage)
    assert not pending, f"the run never stopped at {pending}"


def found(cfg: RunConfig) -> Checkpoint:
    """The run's newest checkpoint."""
    newest = latest(open_storage(cfg.run_dir))
    assert newest is not None
    return newest


def assert_same_end(one: RunConfig, other: RunConfig) -> None:
    """Networks, averages and Adam of the newest checkpoints, and the snapshots, to the bit."""
    for part in PARTS:
        a, b = found(one).tensors(part), found(other).tensors(part)
        assert a.keys() == b.keys()
        assert not [name for name in a if not torch.equal(a[name], b[name])], part
    assert found(one).state["seen"] == found(other).state["seen"]
    for stage in (0, 1):
        mine, theirs = (
            (stage_folder(Path(c.run_dir), stage) / "snapshot/model.safetensors").read_bytes()
            for c in (one, other)
        )
        assert mine == theirs


def rows(cfg: RunConfig) -> list[dict[str, float]]:
    """What metrics.jsonl holds."""
    lines = (Path(cfg.run_dir) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def unbroken(
    faces: Path, world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunConfig, list[ProgressUpdate]]:
    """A run that nothing interrupted, and what it reported."""
    cfg = config(tmp_path_factory.mktemp("unbroken"), faces)
    reports: list[ProgressUpdate] = []
    for stage in (0, 1):
        assert train_stage(cfg, stage, world, report=reports.append)
    return cfg, reports


def test_every_stage_ends_in_a_snapshot_that_loads(
    unbroken: tuple[RunConfig, list[ProgressUpdate]],
) -> None:
    cfg, _ = unbroken
    for stage, seen in ((0, FIRST), (1, END)):
        m = StyleALAE.load(stage_folder(Path(cfg.run_dir), stage) / "snapshot")
        assert (m.stage, m.seen, m.resolution) == (stage, seen, 4 << stage)
        x = m.sample(3, seed=1)
        assert x.shape == (3, 3, 4 << stage, 4 << stage)
        assert bool(x.isfinite().all())
        assert m.reconstruct(x).shape == x.shape
        assert float(m.w_mean.norm()) > 0


def test_a_run_leaves_its_checkpoints_metrics_and_pictures(
    unbroken: tuple[RunConfig, list[ProgressUpdate]],
) -> None:
    cfg, reports = unbroken
    run_dir = Path(cfg.run_dir)
    kept = {p.parent.name + "/" + p.name for p in run_dir.glob("*/seen-*")}
    assert kept == {f"0004/seen-{FIRST:010d}", "0008/seen-0000000144", f"0008/seen-{END:010d}"}
    wanted = list(range(16, END + 1, 16))
    assert [row["seen"] for row in rows(cfg)] == wanted
    assert [report.seen for report in reports] == wanted
    for row in rows(cfg):
        assert {"loss/critic", "loss/generator", "loss/reciprocity"} < row.keys()
        assert row["time/stage"] == (row["seen"] > FIRST)
        groups = {"seen", "loss", "time", "system", "critic", "augment"}
        assert {tag.partition("/")[0] for tag in row} <= groups
    assert {p.name for p in (run_dir / "images").iterdir()} == {
        f"0004-seen-{FIRST:010d}.png", f"0008-seen-{END:010d}.png",
    }  # fmt: skip
    assert list((run_dir / "tensorboard").iterdir())


def test_what_a_run_starts_from_moves(unbroken: tuple[RunConfig, list[ProgressUpdate]]) -> None:
    cfg, _ = unbroken
    first = checkpoints.Checkpoint(
        stage_folder(Path(cfg.run_dir), 0) / f"seen-{FIRST:010d}", {}, ""
    )
    a, b = first.tensors("networks"), found(cfg).tensors("networks")
    assert not [name for name in a if torch.equal(a[name], b[name]) and "rgb.0" not in name]


@pytest.mark.parametrize(
    "stops",
    [
        (8, 40, FIRST + 16),
        (FIRST - BATCH, FIRST + FADE),
        (24, FIRST + 24, FIRST + FADE - BATCH, END - BATCH),
    ],
    ids=lambda stops: "-".join(map(str, stops)),
)
def test_stopping_and_going_on_equals_not_stopping(
    stops: tuple[int, ...],
    unbroken: tuple[RunConfig, list[ProgressUpdate]],
    faces: Path,
    world: World,
    tmp_path: Path,
) -> None:
    cfg = config(tmp_path / "run", faces)
    train(cfg, world, stops)
    assert_same_end(cfg, unbroken[0])
    assert [row["seen"] for row in rows(cfg)] == [row["seen"] for row in rows(unbroken[0])]


@pytest.fixture(scope="module")
def flat(faces: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run whose networks are a vector each, which Adam rounds in another way than their parts."""
    cfg = sharded(config(tmp_path_factory.mktemp("flat"), faces), zero_stage=2)
    train(cfg, world)
    return cfg


def sharded(cfg: RunConfig, *, zero_stage: int, offload: bool = False) -> RunConfig:
    """The same run with what Adam holds elsewhere."""
    return replace(cfg, engine=replace(cfg.engine, zero_stage=zero_stage, offload=offload))


@pytest.mark.parametrize(
    ("zero_stage", "offload"),
    [(1, True), (2, True), pytest.param(3, False, marks=pytest.mark.slow)],
)
def test_sharding_and_offload_train_the_same_run(
    zero_stage: int, offload: bool, flat: RunConfig, faces: Path, world: World, tmp_path: Path
) -> None:
    cfg = sharded(config(tmp_path / "run", faces), zero_stage=zero_stage, offload=offload)
    train(cfg, world, (24, FIRST + 24))
    assert_same_end(cfg, flat)


def test_float16_goes_on_with_its_loss_scales(faces: Path, world: World, tmp_path: Path) -> None:
    runs = []
    for name, stops in (("whole", ()), ("stopped", (24, FIRST + 24))):
        cfg = config(tmp_path / name, faces)
        runs.append(replace(cfg, engine=replace(cfg.engine, precision="fp16")))
        train(runs[-1], world, stops)
    assert_same_end(*runs)
    scale, _, skipped, _ = found(runs[0]).tensors("adam")["scaler/critic"].tolist()
    last = rows(runs[0])[-1]
    assert last["system/loss_scale/critic"] == scale < 2.0**16
    assert last["system/skipped_steps"] >= skipped > 0


class KilledError(Exception):
    """What a crash looks like from inside."""


@pytest.mark.parametrize("crash", [16, FIRST + 32, END - 16])
def test_a_crash_goes_on_from_the_checkpoint_before(
    crash: int,
    unbroken: tuple[RunConfig, list[ProgressUpdate]],
    faces: Path,
    world: World,
    tmp_path: Path,
) -> None:
    cfg = config(tmp_path / "run", faces)

    def report(line: ProgressUpdate) -> None:
        if line.seen == crash:
            raise KilledError

    with pytest.raises(KilledError):
        train(cfg, world, report=report)
    train(cfg, world)
    assert_same_end(cfg, unbroken[0])
    assert [row["seen"] for row in rows(cfg)] == [row["seen"] for row in rows(unbroken[0])]


@pytest.mark.parametrize("stage", [0, 1])
def test_a_crash_between_the_last_checkpoint_and_the_snapshot_goes_on(
    stage: int,
    unbroken: tuple[RunConfig, list[ProgressUpdate]],
    faces: Path,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = config(tmp_path / "run", faces)
    with monkeypatch.context() as patch:

        def finish(saver: Saver, at: int, model: Callable[[], Any], origin: str) -> None:
            if at == stage:
                raise KilledError
            saver_finish(saver, at, model, origin)

        saver_finish = Saver.finish_stage
        patch.setattr(Saver, "finish_stage", finish)
        with pytest.raises(KilledError):
            train(cfg, world)
    assert not is_done(open_storage(cfg.run_dir), stage)
    train(cfg, world)
    assert_same_end(cfg, unbroken[0])


def test_f_is_fitted_to_images_in_the_last_snapshot_alone(
    unbroken: tuple[RunConfig, list[ProgressUpdate]],
    faces: Path,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.training.post_training.STEPS", 5)
    plain = unbroken[0]
    cfg = config(tmp_path / "run", faces)
    cfg = replace(cfg, loss=replace(cfg.loss, prior_img=40))
    train(cfg, world, stops=[FIRST + 24])
    for name, tensor in found(plain).tensors("ema").items():
        assert torch.equal(tensor, found(cfg).tensors("ema")[name]), name
    for stage, moved in ((0, set()), (1, {"F"})):
        ours, theirs = (
            StyleALAE.load(stage_folder(Path(c.run_dir), stage) / "snapshot") for c in (cfg, plain)
        )
        others = theirs.nets.state_dict()
        apart = {k[0] for k, v in ours.nets.state_dict().items() if not torch.equal(v, others[k])}
        assert apart == moved
    again = config(tmp_path / "again", faces)
    train(replace(again, loss=cfg.loss), world)
    assert snapshot_bytes(again) == snapshot_bytes(cfg)
    assert "F was fitted to 40 images afterwards." in card(cfg)


def test_e_and_g_recover_the_styles_of_f_in_the_last_snapshot_alone(
    unbroken: tuple[RunConfig, list[ProgressUpdate]], faces: Path, world: World, tmp_path: Path
) -> None:
    plain = unbroken[0]
    cfg = config(tmp_path / "run", faces)
    cfg = replace(cfg, loss=replace(cfg.loss, recover_img=40))
    train(cfg, world, stops=[FIRST + 24])
    for stage, moved in ((0, set()), (1, {"E", "G"})):
        ours, theirs = (
            StyleALAE.load(stage_folder(Path(c.run_dir), stage) / "snapshot") for c in (cfg, plain)
        )
        others = theirs.nets.state_dict()
        apart = {k[0] for k, v in ours.nets.state_dict().items() if not torch.equal(v, others[k])}
        assert apart == moved
    again, said = config(tmp_path / "again", faces), list[str]()
    train(replace(again, loss=cfg.loss), world, report=lambda u: said.append(u.then))
    assert snapshot_bytes(again) == snapshot_bytes(cfg)
    assert "E and G learned to recover the styles of F: " in card(cfg)
    assert said[-1] == "now E and G learn to recover F's styles, for 40 images"
    assert not any(said[:-1])


def test_f_stays_as_it_is_where_images_are_too_few_to_fit_it_to(
    faces: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylealae.editing.prior.LEAST_STYLES", 1000)
    cfg = config(tmp_path / "run", faces)
    train(replace(cfg, loss=replace(cfg.loss, prior_img=40)), world)
    assert "fitted" not in card(cfg)


def test_f_is_fitted_to_what_was_shown_alone_with_stand_ins_for_what_is_damaged(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.post_training.STEPS", 5)
    monkeypatch.setattr("pipeline.data.prepare.writer.BLOCK_BYTES", 8 * 3 * 8 * 8)
    faces = tmp_path / "faces"
    prepare(open_source("64", "rendered", test_fraction=0.25), faces, (4, 8), workers=1)
    for tar in faces.glob("r0008/*.tar"):  # of the split for tests, too
        with tarfile.open(tar) as archive:
            second = [m for m in archive.getmembers() if m.name.endswith(".u8")][1]
        held = bytearray(tar.read_bytes())
        held[second.offset_data] ^= 1
        tar.write_bytes(held)
    cfg = config(tmp_path / "run", faces)
    cfg = replace(
        cfg, loss=replace(cfg.loss, prior_img=48), log=replace(cfg.log, grid_size=16),
        data=replace(cfg.data, validation_img=16, max_broken=8),
    )  # fmt: skip
    train(cfg, world)
    assert "F was fitted to 32 images afterwards." in card(cfg)


def card(cfg: RunConfig) -> str:
    return (stage_folder(Path(cfg.run_dir), cfg.last_stage) / "snapshot/README.md").read_text()


def snapshot_bytes(cfg: RunConfig) -> bytes:
    folder = stage_folder(Path(cfg.run_dir), cfg.last_stage) / "snapshot"
    return (folder / "model.safetensors").read_bytes()


def test_a_torn_last_line_of_the_metrics_is_dropped(
    unbroken: tuple[RunConfig, list[ProgressUpdate]], faces: Path, world: World, tmp_path: Path
) -> None:
    cfg = config(tmp_path / "run", faces)
    assert not train_stage(cfg, 0, world, stop=after(4))
    with (tmp_path / "run/metrics.jsonl").open("a") as stream:
        stream.write('{"seen": 48, "loss/cri')
    train(cfg, world)
    assert [row["seen"] for row in rows(cfg)] == [row["seen"] for row in rows(unbroken[0])]


@pytest.fixture
def stopped(faces: Path, world: World, tmp_path: Path) -> RunConfig:
    """A run that was stopped in its first stage."""
    cfg = config(tmp_path / "run", faces)
    assert not train_stage(cfg, 0, world, stop=after(3))
    return cfg


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda c: replace(c, seed=6), r"seed \(5 there, 6 here\)"),
        (
            lambda c: replace(c, model=replace(c.model, max_channels=6)),
            r"max_channels \(8 there, 6 here\)",
        ),
        (
            lambda c: replace(c, model=replace(c.model, z_width=4, w_width=4), seed=6),
            r"z_width \(8 there, 4 here\), w_width \(8 there, 4 here\).*, seed",
        ),
    ],
    ids=["seed", "channels", "widths"],
)
def test_a_checkpoint_of_another_run_is_refused(
    other: Callable[[RunConfig], RunConfig], says: str, stopped: RunConfig, world: World
) -> None:
    before = found(stopped)
    with pytest.raises(CheckpointError, match=says) as refusal:
        train_stage(other(stopped), 0, world)
    assert str(before.folder) in str(refusal.value)
    assert "run_dir=" in str(refusal.value)
    assert found(stopped) == before


def test_a_checkpoint_of_another_data_set_is_refused(
    stopped: RunConfig, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "others"
    prepare(open_source("40", "rendered"), out, (4, 8), workers=1)
    other = replace(stopped, data=replace(stopped.data, path=str(out)))
    with pytest.raises(CheckpointError, match="data set"):
        train_stage(other, 0, world)


def test_divergence_stops_the_run_and_names_the_last_good_checkpoint(
    stopped: RunConfig, world: World
) -> None:
    good = found(stopped)
    wild = replace(stopped, schedule=replace(stopped.schedule, lr=(1e9,)))
    with pytest.raises(DivergenceError, match="not finite") as refusal:
        train_stage(wild, 0, world)
    assert str(good.folder) in str(refusal.value)
    assert "schedule.lr" in str(refusal.value)
    assert found(stopped).folder == good.folder
    assert not is_done(open_storage(stopped.run_dir), 0)
    train(stopped, world)  # the same run at a sane rate goes on


def test_weights_that_are_not_finite_are_never_saved(
    stopped: RunConfig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient that breaks in an iteration's last phase shows in no loss before the next.

    The third phase is replaced by one whose value is finite and whose gradient is not.
    """
    good = found(stopped)
    first, second, third = phases_of(stopped.loss)

    def loss(n: Networks, x: Tensor, r: StyleInputs, at: Growth, cfg: LossConfig) -> Tensor:
        nothing: Tensor = (n.E(x, at) * 0).square().sum().sqrt()
        return third.loss(n, x, r, at, cfg) + nothing

    broken = (first, second, replace(third, loss=loss))
    family = replace(FAMILIES["stylealae"], phases=lambda *_: broken)
    monkeypatch.setattr("stylealae.families.stylealae.family.FAMILY", family)
    often = replace(stopped, checkpoint=CheckpointConfig(every_img=BATCH))
    with pytest.raises(DivergenceError) as refusal:
        train_stage(often, 0, world)
    tensors = [t for part in PARTS for t in found(stopped).tensors(part).values()]
    assert all(bool(t.isfinite().all()) for t in tensors)
    assert str(good.folder) in str(refusal.value)


def test_a_save_that_failed_ends_the_run_at_the_next_look_at_the_stop_flag(
    stopped: RunConfig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the next save: what is trained until then would be lost."""
    save = Saver.save

    def and_wait(saver: Saver, *given: Any) -> None:
        save(saver, *given)
        saver.close()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Saver, "save", and_wait)
    monkeypatch.setattr(tensor_file, "write_tensors", full)
    assert found(stopped).state["seen"] == 24
    with pytest.raises(CheckpointError, match="No space left") as refusal:
        train_stage(stopped, 0, world)
    assert refusal.value.__notes__ == ["after 56 images"]  # it was to be saved after 48


def test_a_model_with_other_channels_than_the_data_is_refused(
    faces: Path, world: World, tmp_path: Path
) -> None:
    cfg = config(tmp_path / "run", faces)
    grey = replace(cfg, model=replace(cfg.model, channels=1))
    with pytest.raises(
        DataError, match=r"have 3 channels, and the model takes 1.*model\.channels=3"
    ):
        train_stage(grey, 0, world)


def test_a_batch_that_the_ranks_cannot_share_is_refused(stopped: RunConfig) -> None:
    three = World(0, 3, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"8 images.*3 ranks.*cluster\.workers"):
        train_stage(stopped, 0, three)
