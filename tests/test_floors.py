"""A file imports from floors below its own, and every heavy library has one home.

Checked by parsing every file, imports inside functions included; and by asking a fresh process
what the command line has imported.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "stylealae.errors": 0.0,
    "stylealae.config": 0.1,
    "stylealae.config_mlp": 0.2,
    "stylealae.schedule": 0.2,
    "stylealae.convolution": 0.1,
    "stylealae.planes": 0.1,
    "stylealae.layers": 0.2,
    "stylealae.losses": 0.2,
    "stylealae.priors": 0.3,
    "stylealae.draws": 0.4,
    "stylealae.snapshot": 0.3,
    "stylealae.latents": 0.2,
    "stylealae.networks.lettered": 1.0,
    "stylealae.networks.mapping": 1.0,
    "stylealae.networks.generator": 1.0,
    "stylealae.networks.posteriors": 1.0,
    "stylealae.networks.encoder": 1.1,
    "stylealae.networks.mlp": 1.2,
    "stylealae.networks.alae_mlp": 1.25,
    "stylealae.networks": 1.3,
    "stylealae.ema": 1.4,
    "stylealae.phases": 1.5,
    "stylealae.phases_aae": 1.55,
    "stylealae.api": 1.6,
    "stylealae.api_mlp": 1.6,
    "stylealae.family": 1.65,
    "stylealae.sheets": 1.6,
    "stylealae.plots": 1.6,
    "stylealae.interop": 1.5,
    "stylealae.directions": 1.4,
    "stylealae.attributes": 1.5,
    "stylealae.refinement": 1.5,
    "stylealae.portable": 1.5,
    "stylealae.prepared": 1.55,
    "stylealae.metrics": 1.6,
    "stylealae": 1.7,  # the door: StyleALAE and nothing else
    "pipeline": 2.0,
    "pipeline.allocator": 1.9,
    "pipeline.workers": 1.9,
    "pipeline.sections": 1.95,
    "pipeline.config": 2.0,
    "pipeline.world": 2.0,
    "pipeline.environment": 2.0,
    "pipeline.data": 3.0,
    "pipeline.optimizer": 2.5,
    "pipeline.scaler": 2.5,
    "pipeline.partition": 2.6,
    "pipeline.sharding": 2.7,
    "pipeline.engine": 3.0,
    "pipeline.storage.folder": 3.1,
    "pipeline.storage.bucket": 3.2,
    "pipeline.storage": 3.3,
    "pipeline.fence": 3.4,
    "pipeline.checkpoint": 3.5,
    "pipeline.progress": 3.0,
    "pipeline.logs": 3.5,
    "pipeline.saving": 3.6,
    "pipeline.memory": 3.0,
    "pipeline.subject": 3.4,
    "pipeline.statistics": 3.5,
    "pipeline.measures": 3.6,
    "pipeline.attributes": 3.7,
    "pipeline.code_measures": 3.7,
    "pipeline.gallery": 3.8,
    "pipeline.results": 3.8,
    "pipeline.catalogue": 3.8,
    "pipeline.evaluate": 3.85,
    "pipeline.metrics": 3.9,
    "pipeline.card": 3.0,
    "pipeline.rates": 2.5,
    "pipeline.costs": 3.0,
    "pipeline.forecast": 4.0,
    "pipeline.calibration": 4.0,
    "pipeline.trainer": 4.0,
    "pipeline.cluster": 5.0,
    "pipeline.cluster.verdicts": 5.0,
    "pipeline.cluster.room": 5.0,
    "pipeline.cluster.connect": 5.0,
    "pipeline.cluster.group": 5.0,
    "pipeline.cluster.controller": 5.0,
    "pipeline.cluster.link": 5.1,
    "pipeline.cluster.worker": 5.2,
    "pipeline.orchestrate": 5.3,
    "pipeline.tasks": 5.0,
    "pipeline.submit": 5.0,
    "pipeline.report": 5.0,
    "pipeline.report.charts": 5.0,
    "pipeline.report.run": 5.0,
    "pipeline.report.page": 5.1,
    "pipeline.demo": 5.0,
    "pipeline.demo.recipe": 5.0,
    "pipeline.demo.uploads": 5.0,
    "pipeline.demo.studio": 5.1,
    "pipeline.demo.server": 5.2,
    "pipeline.console": 5.0,
    "pipeline.launching": 5.5,
    "pipeline.commands.output": 6.0,
    "pipeline.commands.inputs": 6.05,
    "pipeline.commands.data": 6.1,
    "pipeline.commands.runs": 6.1,
    "pipeline.commands.align": 6.1,
    "pipeline.commands.export": 6.1,
    "pipeline.commands.faces": 6.1,
    "pipeline.commands.measure": 6.05,
    "pipeline.commands.pages": 6.1,
    "pipeline.commands.results": 6.1,
    "pipeline.commands.latent": 6.1,
    "pipeline.commands.directions": 6.1,
    "pipeline.commands": 6.1,
    "pipeline.cli": 6.2,
    "launch": 7.0,
}
SIBLINGS = ("pipeline.data", "stylealae.metrics")
"""Packages whose files may import each other."""

HOMES = {
    "deepspeed": ("pipeline.engine",),
    "ray": ("pipeline.orchestrate", "pipeline.cluster", "pipeline.submit", "pipeline.tasks"),
    "webdataset": ("pipeline.data",),
    "cv2": ("pipeline.data",),
    "fsspec": ("pipeline.data",),
    "omegaconf": ("pipeline.config",),
    "starlette": ("pipeline.demo",),
    "uvicorn": ("pipeline.demo",),
    "tensorboard": ("pipeline.logs",),
    "torch.utils.tensorboard": ("pipeline.logs",),
}


def module_of(path: Path) -> str:
    """`pipeline/data/stream.py` -> `pipeline.data.stream`."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {
    module_of(path): path
    for folder in ("stylealae", "pipeline", "launch")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def below(module: str, package: str) -> bool:
    """Whether a module is this package or lies in it."""
    return f"{module}.".startswith(f"{package}.")


def home(module: str) -> str:
    """The entry of FLOORS that a module stands on: its own or its nearest package's."""
    while module not in FLOORS and "." in module:
        module = module.rpartition(".")[0]
    return module


def imports(text: str) -> Iterator[str]:
    """Every module that a source imports, at the top, in a function or by `import_module`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else _door(node.module, alias.name)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            argument = node.args[0]
            if called in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield str(argument.value)


def _door(module: str, name: str) -> str:
    """`from torch.utils import tensorboard` imports torch.utils.tensorboard; a name, its module."""
    whole = f"{module}.{name}"
    return whole if whole in HOMES else module


def breach(module: str, imported: str) -> str:
    """What is wrong with one import; empty if nothing is."""
    if imported.split(".")[0] not in ("stylealae", "pipeline", "launch"):
        homes = next((h for library, h in HOMES.items() if below(imported, library)), None)
        if homes is None or any(below(module, h) for h in homes):
            return ""
        return f"{module} imports {imported}, whose home is {' and '.join(homes)}"
    ours, theirs = home(module), home(imported)
    if ours == theirs and ours in SIBLINGS:
        return ""
    if FLOORS[theirs] < FLOORS[ours]:
        return ""
    return f"{module} (floor {FLOORS[ours]}) imports {imported} (floor {FLOORS[theirs]})"


@pytest.mark.parametrize("module", FILES)
def test_every_file_has_a_floor(module: str) -> None:
    assert home(module) in FLOORS, f"give {module} a floor"
    if home(module) not in SIBLINGS and not module.startswith("launch."):
        assert module in FLOORS, f"give {module} a floor of its own"


@pytest.mark.parametrize("module", FILES)
def test_imports_come_from_below_and_heavy_libraries_stay_at_home(module: str) -> None:
    breaches = [breach(module, name) for name in imports(FILES[module].read_text())]
    assert not [b for b in breaches if b]


def test_the_method_never_imports_the_pipeline() -> None:
    for module, path in FILES.items():
        if below(module, "stylealae"):
            assert not [name for name in imports(path.read_text()) if below(name, "pipeline")]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("stylealae.phases", "def f():\n    from pipeline import config"),
        ("stylealae.ema", "from stylealae.phases import Phase"),
        ("stylealae.losses", "from stylealae import layers"),
        ("stylealae.phases", "from stylealae import StyleALAE"),
        ("pipeline.logs", "from pipeline import checkpoint"),
        ("pipeline.data.stream", "import pipeline.engine"),
        ("pipeline.trainer", "import deepspeed.ops as d"),
        ("pipeline.trainer", "from importlib import import_module\nimport_module('ray.train')"),
        ("pipeline.engine", "from torch.utils import tensorboard"),
        ("pipeline.data.stream", "from pipeline.trainer import train_stage"),
        ("pipeline.cli", "from omegaconf import OmegaConf"),
    ],
)
def test_the_check_sees_a_breach(module: str, line: str) -> None:
    assert any(breach(module, name) for name in imports(line))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("pipeline.data.stream", "from pipeline.data.order import Order"),
        ("pipeline.engine", "import deepspeed, torch"),
        ("pipeline.cli", "def f():\n    from pipeline import orchestrate"),
        ("launch.demo", "from pipeline.launching import launch"),
        ("pipeline.cli", "from stylealae import StyleALAE"),
    ],
)
def test_the_check_lets_the_rest_pass(module: str, line: str) -> None:
    assert not any(breach(module, name) for name in imports(line))


HEAVY = {"torch", "ray", "deepspeed", "webdataset", "tensorboard"}
ASKED = f"import sys; print('HEAVY', *sorted({HEAVY!r} & set(sys.modules)))"


@pytest.mark.parametrize(
    "first",
    [
        "import pipeline.cli",
        "import pipeline.config",
        "from pipeline.cli import main; main(['--help'], standalone_mode=False)",
        "from pipeline.cli import main; main(['train', '--help'], standalone_mode=False)",
    ],
)
def test_the_command_line_starts_light(first: str) -> None:
    command = [sys.executable, "-c", f"{first}\n{ASKED}"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "HEAVY"
