"""The examples of docs/extending.md work, links lead somewhere, the site lists what there is."""

import importlib.util
import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.config.run import RunConfig
from pipeline.data.sources.source import Options
from pipeline.evaluation.context import EvaluationContext
from pipeline.evaluation.image_metrics import prior_samples
from pipeline.evaluation.registry import METRICS
from pipeline.world import World
from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.errors import DataError
from stylealae.families import NAMES, sections
from stylealae.networks import build

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SMALL = ModelConfig(
    resolution=8, start_channels=2, max_channels=4, z_width=4, w_width=4, mapping_layers=1
)


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """What the site is made with."""
    pytest.importorskip("mkdocs", reason="the site needs the extra docs")
    return loaded("hooks")


@pytest.fixture(scope="module")
def lists() -> ModuleType:
    """What the lists of pages are made with."""
    return loaded("lists")


def loaded(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(number: int) -> dict[str, Any]:
    """The names that a Python block of docs/extending.md leaves."""
    block = re.findall(r"```python\n(.*?)```", (DOCS / "extending.md").read_text(), re.S)[number]
    names: dict[str, Any] = {}
    exec(compile(block, "extending.md", "exec"), names)
    return names


def test_a_source_of_ones_own_reads(tmp_path: Path):
    frames = example(0)["Frames"]
    Image.new("RGB", (5, 4), (9, 8, 7)).save(tmp_path / "frame-000001.png")
    (tmp_path / "frame-000002.png").write_text("no image")
    assert frames.fits(tmp_path, ["frame-000001.png"])
    assert not frames.fits(tmp_path, ["frame-000001.png", "notes.txt"])
    source = frames(str(tmp_path), Options())
    assert len(source) == 2
    sample = source.read(0)
    assert sample.key == "frame-000001"
    assert sample.image.shape == (4, 5, 3)
    assert sample.image[0, 0].tolist() == [9, 8, 7]
    with pytest.raises(DataError):
        source.read(1)


def test_a_metric_of_ones_own_measures():
    model = StyleALAE(build(SMALL), SMALL, torch.zeros(4, 4), stage=1)
    context: EvaluationContext[StyleALAE] = EvaluationContext(
        model=model, dataset=Any, world=World(0, 1, torch.device("cpu")), samples=40, batch=16
    )
    (value,) = example(1)["METRIC"].measure(context).values()
    w = torch.cat([model.map(prior_samples(context, part)) for part in context.batches(40, "")])
    assert value == pytest.approx(w.square().mean().sqrt().item())


def test_links_lead_to_pages(hooks: ModuleType):
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            there = (page.parent / target).exists() or target in hooks.FRONT
            assert there, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", ["commands", "configuration", "troubleshooting"])
def test_the_list_of_a_page_is_as_the_code_has_it(lists: ModuleType, page: str):
    there = (DOCS / f"{page}.md").read_text()
    assert there == lists.current(page), f"docs/{page}.md is of other code: run `make docs`"


def test_every_page_with_a_list_is_compared(lists: ModuleType):
    assert list(lists.LISTS) == ["commands", "configuration", "troubleshooting"]


def test_every_command_and_key_is_listed(lists: ModuleType):
    listed = lists.commands()
    assert all(f"## {name}\n" in listed for name in main.commands)
    keys = lists.keys()
    for section in fields(RunConfig):
        if section.default_factory is MISSING:
            assert f"| `{section.name}` |" in keys
        else:
            for key in fields(section.default_factory()):
                assert f"| `{section.name}.{key.name}` |" in keys
    for family in NAMES:
        for name, config in sections(family)._asdict().items():
            for key in fields(config):
                assert f"| `{name}.{key.name}` |" in keys, f"{family} has {name}.{key.name}"


def test_a_key_stands_with_the_families_that_have_it_so(lists: ModuleType):
    rows = [line.split(" | ") for line in lists.keys().splitlines()]
    found = {(row[0], row[2]): row[1] for row in rows if len(row) == 4}
    for key, default, families in (
        ("loss.game_weight", "1.0", "`age`"),
        ("loss.game_weight", "0.25", "`intro_vae`"),
        ("loss.heads_apart", "1.0", "`aae_heads`"),
        (
            "model.critic_hidden",
            "1000",
            "`aae`, `aae_informed`, `aae_supervised`, `aae_classes`, `aae_heads`, `factor_vae`, "
            "`vae_gan`, `ali`, `gan`",
        ),
    ):
        assert found[f"| `{key}`", f"`{default}`"] == families
    assert not any(key == "| `loss.reciprocity_weight`" for key, _ in found)


def test_every_metric_has_its_row():
    page = (DOCS / "metrics.md").read_text()
    named = {name.removesuffix("-random").removesuffix("-custom") for name in METRICS}
    assert [name for name in sorted(named) if f"`{name}`" not in page] == []


def test_an_error_is_found_by_its_words(lists: ModuleType, tmp_path: Path):
    shown = CliRunner().invoke(main, ["export", "runs/none", "--out", str(tmp_path)])
    words = shown.stderr.removeprefix(f"error: {tmp_path}").strip()
    assert words == "exists: name another folder, or replace it with --overwrite"
    assert f"… {words}" in lists.errors()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.json")), ids=lambda page: page.name)
def test_commands_of_a_table_name_what_everybody_has(page: Path):
    text = page.read_text()
    for command in re.findall(r'"command": "((?:[^"\\]|\\.)*)"', text):
        assert command.startswith("stylealae ")
        for path in re.findall(r"[^\s='\",]*/[^\s'\",]*", command):
            assert not path.startswith("/"), command
            ours = path.startswith(("datasets/", "runs/", "docs/")) or (ROOT / path).exists()
            assert ours or f'"{path}": {{' in text, command  # or the name of an entry
