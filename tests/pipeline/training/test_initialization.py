"""A run that begins with weights of others: which it takes, where they go, and how it goes on.

Checked against the tensors of the source themselves, and against a run that nobody stopped.
"""

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import RunConfig, as_yaml, parse
from pipeline.config.init import InitConfig
from pipeline.config.sections import CheckpointConfig, DataConfig, EngineConfig, LogConfig
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from pipeline.planning.stage_plan import stage_plan
from pipeline.storage import open_storage
from pipeline.training.checkpoints import latest
from pipeline.training.initialization import begin, resolved, shape_overrides
from pipeline.training.resume import next_stage
from pipeline.training.trainer import train_stage
from pipeline.training.weight_sources import opened
from pipeline.world import World
from stylealae import StyleALAE
from stylealae.config import ModelConfig, ScheduleConfig
from stylealae.errors import CheckpointError, ConfigError
from stylealae.networks import build
from tests import released
from tests.released import checkpoint

SMALL = ModelConfig(
    resolution=8, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
LARGER = replace(SMALL, resolution=16, start_channels=2)
STAGE_IMG, BATCH = 32, 8


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 rendered faces at 4x4 to 16x16."""
    out = tmp_path_factory.mktemp("faces") / "rendered"
    prepare(open_source("32", "rendered"), out, (4, 8, 16), workers=1)
    return out


def config(run_dir: Path, faces: Path, model: ModelConfig = SMALL, **init: Any) -> RunConfig:
    """Four iterations a stage, a checkpoint every second one."""
    schedule = ScheduleConfig(stage_img=(STAGE_IMG,), total_img=0, batch=(BATCH,), lr=(0.002,))
    return RunConfig(
        run_dir=str(run_dir), model=model, schedule=schedule, data=DataConfig(path=str(faces)),
        engine=EngineConfig(precision="fp32", threads=1), init=InitConfig(**init),
        checkpoint=CheckpointConfig(every_img=16),
        log=LogConfig(scalars_img=16, grid_img=1_000, grid_size=2),
    )  # fmt: skip


def train(cfg: RunConfig, world: World) -> RunConfig:
    """All stages that are left; the config as it was trained."""
    storage = open_storage(cfg.run_dir)
    cfg = resolved(cfg, storage)
    while (stage := next_stage(cfg, storage)) is not None:
        assert train_stage(cfg, stage, world, storage)
    return cfg


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, faces: Path, world: World) -> Path:
    """The folder of a run in miniature, 4x4 and 8x8."""
    folder = tmp_path_factory.mktemp("source") / "faces"
    train(config(folder, faces), world)
    return folder


def tensors_of(cfg: RunConfig, part: str) -> dict[str, Tensor]:
    """A part of the newest checkpoint of a run."""
    found = latest(open_storage(cfg.run_dir))
    assert found is not None
    return found.tensors(part)


def test_a_snapshot_fills_networks_and_average_at_its_stage(source: Path, faces: Path) -> None:
    cfg = resolved(config(source, faces, from_=str(source / "0008/snapshot")))
    assert (list(cfg.stages), cfg.span(1), cfg.progress(0).alpha) == ([1], (0, STAGE_IMG), 1.0)
    found, m = begin(cfg), StyleALAE.load(source / "0008/snapshot")
    for part in ("networks", "ema"):
        for name, tensor in m.nets.state_dict().items():
            assert torch.equal(found.tensors(part)[name], tensor)
    assert torch.equal(found.tensors("ema")["w_mean"], m.w_mean)
    digest = hashlib.sha256((source / "0008/snapshot/model.safetensors").read_bytes()).hexdigest()
    assert digest in found.state["origin"]
    assert found.state["seen"] == 0


def test_a_checkpoint_hands_over_what_was_in_training_and_its_alpha(
    source: Path, faces: Path
) -> None:
    kept = source / "0008" / f"seen-{STAGE_IMG + 16:010d}"  # the fade is over by then
    cfg = resolved(config(source, faces, from_=str(kept)))
    assert cfg.progress(0).alpha == 1.0
    found = begin(cfg)
    networks, ema = (found.tensors(part) for part in ("networks", "ema"))
    held = opened(kept).parts()
    assert all(torch.equal(networks[name], held[0][name]) for name in networks)
    assert all(torch.equal(ema[name], held[1][name]) for name in ema)
    assert not torch.equal(networks["D.layers.0.weight"], ema["D.layers.0.weight"])


def test_weights_that_were_fading_in_go_on_from_their_alpha(faces: Path) -> None:
    cfg = config(Path("run"), faces, from_="other", stage=1, alpha=0.5, warmup_img=0)
    begun = [cfg.progress(seen).alpha for seen in (0, 4, 8)]
    assert begun == pytest.approx([0.5, (1 - math.cos(0.75 * math.pi)) / 2, 1.0])


def test_the_rate_rises_over_the_first_images(faces: Path) -> None:
    cfg = config(Path("run"), faces, from_="other", stage=1, alpha=1.0, warmup_img=32)
    assert [cfg.progress(seen).lr for seen in (0, 8, 24, 25)] == [0.0005, 0.001, 0.002, 0.002]


def test_a_smaller_model_grows_into_a_larger_one(source: Path, faces: Path, world: World) -> None:
    snapshot = source / "0008/snapshot"
    given = config(source, faces, LARGER, from_=str(snapshot))
    assert list(resolved(given).stages) == [1, 2]
    above = resolved(replace(given, init=InitConfig(from_=str(snapshot), stage=2)))
    assert (list(above.stages), above.progress(0).alpha) == ([2], 0.0)
    plans = stage_plan(above, 2), stage_plan(resolved(given), 1)
    assert [plan.fading_img for plan in plans] == [STAGE_IMG // 2, 0]
    found = begin(above)
    small, drawn = StyleALAE.load(snapshot), build(LARGER, above.seed).state_dict()
    for name, tensor in found.tensors("networks").items():
        ours = small.nets.state_dict().get(name)
        assert torch.equal(tensor, drawn[name] if ours is None else ours), name
    assert found.tensors("ema")["w_mean"].shape == (6, 8)
    # With alpha 0 the larger model shows what the smaller one did, twice as large.
    grown = StyleALAE(build(LARGER), LARGER, small.w_mean, stage=2)
    grown.nets.load_state_dict(found.tensors("networks"))
    w = small.styles(2)
    shown = grown.generate(w, alpha=0.0, noise=False)
    assert torch.equal(shown[:, :, ::2, ::2], small.generate(w, noise=False))


def test_only_the_named_networks_are_taken(source: Path, faces: Path) -> None:
    cfg = config(source, faces, from_=str(source / "0008/snapshot"), networks="EG")
    networks = begin(resolved(cfg)).tensors("networks")
    drawn = build(SMALL, cfg.seed).state_dict()
    taken = StyleALAE.load(source / "0008/snapshot").nets.state_dict()
    for name, tensor in networks.items():
        assert torch.equal(tensor, (taken if name[0] in "EG" else drawn)[name])
    unknown = replace(cfg, init=replace(cfg.init, networks="EX"))
    with pytest.raises(ConfigError, match=r"networks of stylealae are FGED: X is none"):
        begin(resolved(unknown))


def test_the_authors_file_fills_both(tmp_path: Path, faces: Path) -> None:
    file = checkpoint(released.SMALL, tmp_path)
    m, raw = StyleALAE.from_released(file), StyleALAE.from_released(file, ema=False)
    cfg = resolved(config(tmp_path, faces, m.model, from_=str(file)))
    found = begin(cfg)
    assert list(cfg.stages) == [3]
    for name, tensor in m.nets.state_dict().items():
        assert torch.equal(found.tensors("ema")[name], tensor)
        assert torch.equal(found.tensors("networks")[name], raw.nets.state_dict()[name])


def test_other_widths_are_refused_by_name_and_with_what_to_give(source: Path, faces: Path) -> None:
    wide = replace(SMALL, start_channels=8, mapping_layers=3)
    cfg = resolved(config(source, faces, wide, from_=str(source / "0008/snapshot")))
    with pytest.raises(CheckpointError, match=r"shape \[4, 8, 3, 3\] there, \[8, 8") as refused:
        begin(cfg)
    assert "Give model.start_channels=4 model.mapping_layers=2, or" in str(refused.value)
    overrides = shape_overrides(opened(source / "0008/snapshot"), 16)
    assert overrides["model.start_channels"] == 2
    with pytest.raises(ConfigError, match="too few to be halved"):
        shape_overrides(opened(source / "0008/snapshot"), 64)


def test_two_stages_at_once_are_refused(source: Path, faces: Path) -> None:
    cfg = config(source, faces, LARGER, from_=str(source / "0004/snapshot"), stage=2)
    with pytest.raises(ConfigError, match="trained up to stage 0: begin with 1 at most"):
        resolved(cfg)


@pytest.mark.parametrize(
    "init",
    [
        {"networks": "E"},
        {"from_": "other", "stage": 2},
        {"from_": "other", "stage": 0, "alpha": 0.5},
        {"from_": "other", "alpha": 1.5},
        {"from_": "other", "freeze": ("G",)},
        {"from_": "other", "freeze": ("G.5",), "freeze_img": 8},
    ],
)
def test_a_section_that_makes_no_sense_is_refused(faces: Path, init: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"init\."):
        config(Path("run"), faces, **init)


def test_the_section_is_written_as_it_is_given() -> None:
    cfg = parse("init: {from: there, stage: 0}", ["init.freeze=[G.4..8,E]", "init.freeze_img=8"])
    assert (cfg.init.from_, cfg.init.freeze) == ("there", ("G.4..8", "E"))
    assert "from: there" in as_yaml(cfg)
    assert parse(as_yaml(cfg)) == cfg
    assert parse("", ["init.from=a b"]).init.from_ == "a b"


def test_a_run_ends_bit_equal_after_a_stop_and_without_its_source(
    tmp_path: Path, source: Path, faces: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.trainer.STOP_POLL_IMG", BATCH)
    held = tmp_path / "held/0008/snapshot"
    shutil.copytree(source / "0008/snapshot", held)
    keys: dict[str, Any] = {"freeze": ("G.4", "E.4"), "freeze_img": 24, "warmup_img": 16}
    given = [
        config(tmp_path / run, faces, LARGER, from_=str(held), **keys) for run in ("one", "two")
    ]
    left_alone = train(given[0], world)
    cfg, storage = resolved(given[1]), open_storage(given[1].run_dir)
    asked = iter([False, True])
    assert not train_stage(cfg, 1, world, storage, stop=lambda: next(asked))
    shutil.rmtree(tmp_path / "held")
    again = train(given[1], world)
    assert again.init == left_alone.init
    for part in ("networks", "ema", "adam"):
        mine, theirs = (tensors_of(c, part) for c in (again, left_alone))
        assert mine.keys() == theirs.keys()
        assert not [name for name in mine if not torch.equal(mine[name], theirs[name])]
    snapshot = Path(again.run_dir, "0016/snapshot")
    digest = hashlib.sha256((source / "0008/snapshot/model.safetensors").read_bytes()).hexdigest()
    assert digest in json.loads((snapshot / "config.json").read_text())["origin"]
    assert digest in (snapshot / "README.md").read_text()
    found = latest(storage)
    assert found is not None
    assert digest in found.state["origin"]
    other = replace(again, init=replace(again.init, freeze_img=16))
    with pytest.raises(CheckpointError, match=r"another run: init.freeze_img \(24 there, 16 here"):
        train_stage(other, 2, world, storage)


def test_frozen_layers_stay_until_their_time_and_begin_afresh(
    tmp_path: Path, source: Path, faces: Path, world: World
) -> None:
    snapshot = source / "0008/snapshot"
    keys: dict[str, Any] = {"from_": str(snapshot), "freeze": ("G.4", "E.8"), "warmup_img": 0}
    before = StyleALAE.load(snapshot).nets.state_dict()
    asleep = train(config(tmp_path / "asleep", faces, freeze_img=STAGE_IMG, **keys), world)
    after = tensors_of(asleep, "networks")
    kept = {name for name in before if torch.equal(before[name], after[name])}
    rested = {n for n in before if n.startswith(("G.blocks.0", "E.blocks.1", "E.from_rgb.1"))}
    assert rested <= kept
    assert not {n for n in kept if n.startswith(("F.", "G.blocks.1", "E.blocks.0"))}
    adam = tensors_of(asleep, "adam")
    assert (adam["step/G"], adam["step/G.frozen"]) == (8, 0)
    awake = train(config(tmp_path / "awake", faces, freeze_img=16, **keys), world)
    assert tensors_of(awake, "adam")["step/G.frozen"] == 4
    const = "G.blocks.0.const"
    assert not torch.equal(before[const], tensors_of(awake, "networks")[const])


def test_freezing_all_that_a_phase_trains_is_refused(
    tmp_path: Path, source: Path, faces: Path, world: World
) -> None:
    keys: dict[str, Any] = {"freeze": ("G", "E"), "freeze_img": 16}
    cfg = config(tmp_path / "run", faces, from_=str(source / "0008/snapshot"), **keys)
    with pytest.raises(ConfigError, match="leaves the phase reciprocity nothing to train"):
        train(cfg, world)
