"""Every family in miniature, through the real trainer: it trains, ends in a snapshot, and resumes.

Checked in this process, on one rank, with the made-up digits of tests/digits.py.
"""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.config import RunConfig, parse
from pipeline.config.sections import DataConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.evaluation.context import EvaluationContext
from pipeline.evaluation.figures import figures_of
from pipeline.evaluation.registry import usual
from pipeline.planning.memory import need
from pipeline.planning.stage_plan import stage_plan
from pipeline.storage import open_storage
from pipeline.storage.publish import MANIFEST, write_manifest
from pipeline.training.audit import audit, stretch_of
from pipeline.training.checkpoints import latest
from pipeline.training.resume import start_of
from pipeline.training.run_files import stage_folder
from pipeline.training.same_run import require_same_request
from pipeline.training.stage import readable_by
from pipeline.training.trainer import train_stage
from pipeline.training.weight_sources import opened
from pipeline.world import World
from stylealae import families
from stylealae.capabilities import Model
from stylealae.errors import CheckpointError, ConfigError
from stylealae.families import FAMILIES, load, sections
from stylealae.image_grid import image_grid

MLPS = [name for name in FAMILIES if not name.startswith("stylealae")]
SMALL = {"hidden": 24, "critic_hidden": 24, "z_width": 2}
"""Of these the keys that a family has."""
BATCH, IMAGES = 12, 120
IDLE = {"critic_hidden": 1000, "class_critic_hidden": 1000}
"""Keys that families without D and C had."""
PARTS = ("networks", "ema", "adam")
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"```python\n# stylealae/families/sparse/(\w+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(autouse=True)
def stop_is_asked_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.trainer.STOP_POLL_IMG", BATCH)


def config(name: str, digits: Path, run_dir: Path, *overrides: str) -> RunConfig:
    """Ten iterations of tiny networks."""
    model, loss = sections(name)
    shape = {field.name: SMALL[field.name] for field in fields(model) if field.name in SMALL}
    text = f"""
family: {name}
run_dir: {run_dir}
seed: 3
model: {json.dumps(shape)}
schedule: {{stage_img: [{IMAGES}], total_img: 0, batch: [{BATCH}], lr: [0.01]}}
data: {{path: {digits}, flip: false, validation_img: 20}}
engine: {{precision: fp32, zero_stage: 0, threads: 1}}
log: {{scalars_img: 24, grid_img: 1000, grid_size: 4}}
"""
    labels = ["data.label=class", "data.labelled_img=40"] if loss().wants_labels else []
    return parse(text, [*labels, *overrides])


def trained(cfg: RunConfig, world: World, *stops: int) -> Any:
    """The whole run, stopped after these many iterations each, and its model."""
    (stage,) = cfg.stages
    for left in stops:
        assert not train_stage(cfg, stage, world, open_storage(cfg.run_dir), stop=after(left))
    assert train_stage(cfg, stage, world, open_storage(cfg.run_dir))
    return load(stage_folder(Path(cfg.run_dir), stage) / "snapshot")


def after(iterations: int) -> Callable[[], bool]:
    """A stop flag that is raised after some iterations."""
    left = iter(range(iterations - 1, -1, -1))
    return lambda: next(left) == 0


def end(cfg: RunConfig) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint."""
    found = latest(open_storage(cfg.run_dir))
    assert found is not None
    return {f"{part}/{k}": t for part in PARTS for k, t in found.tensors(part).items()}


def different(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


@pytest.mark.parametrize("name", MLPS)
def test_a_family_trains_and_its_snapshot_loads(
    name: str, digits: Path, world: World, tmp_path: Path
) -> None:
    cfg = config(name, digits, tmp_path / "run")
    m = trained(cfg, world)
    assert (m.family, m.seen, m.resolution) == (name, IMAGES, 32)
    x = torch.rand(4, 1, 32, 32) * 2 - 1
    rows = m.rows(x)
    assert all(images.shape[1:] == (1, 32, 32) for _, images in rows)
    assert all(bool(images.isfinite().all()) for _, images in rows)
    assert image_grid(rows).width > 0
    assert usual(m), "evaluate would have nothing to measure"
    before = FAMILIES[name].build(cfg.model, cfg.seed).state_dict()
    after = m.nets.state_dict()
    assert not [n for n in before if torch.equal(before[n], after[n])], "nothing rests"


def test_the_grid_of_a_generator_that_takes_classes_has_reconstructions(
    digits: Path, world: World, tmp_path: Path
) -> None:
    sizes = []
    for name in ("aae", "aae_supervised"):
        trained(config(name, digits, tmp_path / name), world)
        (grid,) = (tmp_path / name / "images").glob("*.png")
        sizes.append(Image.open(grid).size)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", ["alae", "ali"])
def test_convolutions_train_and_go_on_as_mlps_do(
    name: str, digits: Path, world: World, tmp_path: Path
) -> None:
    shape = ("model.layers=convolutional", "model.start_channels=4")
    whole, parts = (config(name, digits, tmp_path / n, *shape) for n in ("whole", "parts"))
    m = trained(whole, world)
    trained(parts, world, 4)
    assert not different(end(whole), end(parts))
    assert m.reconstruct(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)
    assert need(stage_plan(whole, whole.last_stage)) > 0


@pytest.fixture
def sparse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the family that docs/family.md adds, from a folder elsewhere."""
    folder = tmp_path / "families" / "sparse"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    files = EXAMPLE.findall((ROOT / "docs" / "family.md").read_text())
    assert {name for name, _ in files} == {"config.py", "phases.py", "family.py"}
    for name, text in files:
        (folder / name).write_text(text)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder.parent)])
    monkeypatch.setattr(families, "NAMES", (*families.NAMES, "sparse"))
    return "sparse"


def test_a_folder_and_a_name_make_a_family(
    sparse: str, digits: Path, world: World, tmp_path: Path
) -> None:
    cfg = config(sparse, digits, tmp_path / "run", "loss.sparsity_weight=0.1")
    m = trained(cfg, world, 3)
    assert (m.family, m.seen) == (sparse, IMAGES)
    assert {"sheet", "codes"} <= dict(figures_of(context_of(m, digits))).keys()
    assert "prior-fit" in usual(m)
    assert need(stage_plan(cfg, cfg.last_stage)) > 0
    with pytest.raises(ConfigError, match="sparsity"):
        config(sparse, digits, tmp_path / "run", "loss.sparsity=0.1")


def context_of(m: Model, digits: Path) -> EvaluationContext[Model]:
    """The model under measurement on the made-up digits."""
    dataset = Dataset.open(DataConfig(path=str(digits)), 32)
    return EvaluationContext(model=m, dataset=dataset, world=World(0, 1, m.device))


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer.kind=sgd", "schedule.lr=[0.001]", "engine.zero_stage=1"),
        ("optimizer.betas=[0.5,0.99]", "model.class_shares=[2,1,1,1,1,1,1,1,1,1]"),
        ("engine.zero_stage=3", "loss.merged=true"),
    ],
    ids=lambda o: "-".join(o),
)
def test_stopping_and_going_on_equals_not_stopping(
    overrides: tuple[str, ...], digits: Path, world: World, tmp_path: Path
) -> None:
    noisy = ("loss.input_noise=0.2", "loss.input_dropout=0.1", "model.posterior=gaussian",
             "loss.class_noise=0.1", "loss.smoothness_weight=0.1", "model.batch_norm=true",
             "schedule.lr_final=0.1")  # fmt: skip
    whole, parts = (
        config("aae_classes", digits, tmp_path / n, *noisy, *overrides) for n in ("whole", "parts")
    )
    trained(whole, world)
    trained(parts, world, 3, 4)
    assert not different(end(whole), end(parts))


def test_a_key_that_came_after_a_checkpoint_must_be_at_its_default(
    digits: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config("aae_classes", digits, tmp_path)
    trained(before, world, 3)
    storage = open_storage(before.run_dir)
    found = latest(storage)
    assert found is not None
    del found.state["config"]["model"]["class_shares"]
    monkeypatch.setattr("pipeline.training.checkpoints.latest", lambda *_, **__: found)
    other = config("aae_classes", digits, tmp_path, "model.class_shares=[2,1,1,1,1,1,1,1,1,1]")
    (stage,) = before.stages
    digest = readable_by(before, stage).manifest.digest
    assert start_of(before, stage, storage, digest, world) is found
    with pytest.raises(CheckpointError, match="class_shares"):
        start_of(other, stage, storage, digest, world)


@pytest.mark.parametrize("name", ["autoencoder", "vae", "vamp_vae", "wae"])
def test_a_run_whose_config_has_keys_that_did_nothing_is_read_as_ever(
    name: str, digits: Path, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config(name, digits, tmp_path / "run", f"checkpoint.every_img={IMAGES // 2}")
    m, storage = trained(cfg, world), open_storage(cfg.run_dir)
    before = end(cfg)
    for state in Path(cfg.run_dir).rglob("state.json"):
        about = json.loads(state.read_text())
        about["config"]["loss"] |= {"deceit_weight": 1.0, "critic_rate": 1.0, "merged": False}
        about["config"]["model"] |= IDLE
        state.write_text(json.dumps(about))
        (state.parent / MANIFEST).unlink()
        write_manifest(state.parent)
    snapshot = stage_folder(Path(cfg.run_dir), cfg.last_stage) / "snapshot"
    about = json.loads((snapshot / "config.json").read_text())
    about["model"] |= IDLE
    (snapshot / "config.json").write_text(json.dumps(about))
    (snapshot / MANIFEST).unlink(missing_ok=True)
    assert load(snapshot).model == m.model  # type: ignore[attr-defined]
    digest = readable_by(cfg, cfg.last_stage).manifest.digest
    with caplog.at_level("WARNING"):
        require_same_request(cfg, storage, digest, complete=True)
    assert not caplog.records
    assert not different(before, end(cfg))
    stretch = stretch_of(storage)
    assert (stretch.cfg.loss, stretch.span) == (cfg.loss, (IMAGES // 2, IMAGES))
    certificate = audit(stretch, world)
    assert certificate is not None
    assert certificate.verdict == "bit for bit"
    assert opened(stretch.end.folder).trained.model == m.model
    with pytest.raises(ConfigError, match=r"there is no key loss\.deceit_weight"):
        config(name, digits, tmp_path / "run", "loss.deceit_weight=2")
    with pytest.raises(ConfigError, match=r"there is no key model\.critic_hidden"):
        config(name, digits, tmp_path / "run", "model.critic_hidden=2")
