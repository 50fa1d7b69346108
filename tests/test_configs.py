"""No option without a reader: a config field that no code reads fails here.

Checked by parsing both packages: `cfg.<field>`, or another name that a config goes by, must be
read somewhere outside the check of the field itself.  That each family reads the fields it has is
shown by use, in `tests/stylealae/families/test_keys.py`.
"""

import ast
import inspect
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

import pytest

from pipeline.config import init, run, sections
from stylealae import config as method
from stylealae.families import NAMES

ROOT = Path(__file__).parents[1]
FAMILIES = [import_module(f"stylealae.families.{folder}.config") for folder in (*NAMES, "common")]
MODULES = [method, init, run, sections, *FAMILIES]
CLASSES = [
    method.ShapeConfig,
    method.TermsConfig,
    method.ModelConfig,
    method.AlaeLossConfig,
    method.LossConfig,
    method.AugmentConfig,
    method.OptimizerConfig,
    method.ScheduleConfig,
    *(vars(module)[name] for module in FAMILIES for name in module.__all__ if name != "SECTIONS"),
    sections.DataConfig,
    sections.EngineConfig,
    sections.CheckpointConfig,
    sections.LogConfig,
    sections.MetricConfig,
    sections.ClusterConfig,
    init.InitConfig,
    run.RunConfig,
]
FIELDS = [
    (cls.__name__, field.name)
    for cls in CLASSES
    for field in fields(cls)
    if field.name in cls.__annotations__  # an inherited one is its own class's
]
SECTIONS = {field.name for field in fields(run.RunConfig)}
HOLDERS = {"cfg", "_cfg", "config", *SECTIONS}
"""What a variable or attribute that holds a config is called: `cfg.batch`, not `at.batch`."""


@dataclass(frozen=True)
class Read:
    """One `<holder>.<field>` in the code; `inside` is the class whose `self` it is read from."""

    field: str
    inside: str = ""


class Reads(ast.NodeVisitor):
    """Collects what is read from configs, leaving out `__post_init__`, where they are checked."""

    def __init__(self) -> None:
        self.found: set[Read] = set()
        self._class = ""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Remembers whose `self` is meant."""
        outer, self._class = self._class, node.name
        self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Leaves the checks out."""
        if node.name != "__post_init__":
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Notes what is read from a config, or from `self`."""
        holder = node.value
        name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(holder), "")
        called = getattr(holder, name) if name else ""
        if isinstance(node.ctx, ast.Load):
            if called in HOLDERS:
                self.found.add(Read(node.attr))
            elif called == "self":
                self.found.add(Read(node.attr, self._class))
        self.generic_visit(node)


def reads(*texts: str) -> set[Read]:
    """What these sources read from configs."""
    visitor = Reads()
    for text in texts:
        visitor.visit(ast.parse(text))
    return visitor.found


@pytest.fixture(scope="module")
def found() -> set[Read]:
    """What the two packages read from configs."""
    files = [f for package in ("stylealae", "pipeline") for f in (ROOT / package).rglob("*.py")]
    return reads(*(f.read_text() for f in files))


@pytest.mark.parametrize(("owner", "field"), FIELDS, ids=[".".join(f) for f in FIELDS])
def test_every_field_is_read(owner: str, field: str, found: set[Read]) -> None:
    assert found & {Read(field), Read(field, owner)}, f"nobody reads {owner}.{field}: remove it"


def test_the_search_finds_readers_and_nothing_else() -> None:
    text = """
class ModelConfig:
    def __post_init__(self): self.checked
    def width(self): return self.used
def f(at, cfg, self):
    cfg.assigned = at.batch
    return cfg.engine.deep, self._cfg.kept
"""
    wanted = {Read("used", "ModelConfig"), Read("engine"), Read("deep"), Read("kept")}
    assert {r for r in reads(text) if r.field != "_cfg"} == wanted


def test_every_config_class_is_looked_at() -> None:
    defined = {
        node.name
        for module in MODULES
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ClassDef)
    }
    assert defined == {cls.__name__ for cls in CLASSES}
