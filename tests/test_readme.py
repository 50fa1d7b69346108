"""Every command in the README can be typed where it stands; those of all pages are taken."""

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest

from pipeline.cli.app import main
from pipeline.config import load

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
ACTIVATE = [".", ".venv/bin/activate"]
FRESH = {"make", "."}
"""What a shell knows before the environment is activated, of what the README types."""


def commands(page: str) -> Iterator[tuple[list[str], bool]]:
    """The words of every shell line, comments and continuations taken out; if .venv is active."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.S)
    active = False
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words, active
            active = active or words == ACTIVATE


def after(words: list[str], marker: str) -> list[str]:
    return words[words.index(marker) + 1 :]


def arguments_of(words: list[str]) -> dict[str, Any]:
    """What a subcommand makes of its words; nothing of those that only show, such as --help."""
    group = click.Context(main, **main.context_settings)  # a command keeps its -h from there
    try:
        return main.commands[words[1]].make_context(words[1], list(words[2:]), group).params
    except click.exceptions.Exit as shown:
        if shown.exit_code:
            raise
        return {}


def require_taken(words: list[str]) -> None:
    """Fails unless a command of ours exists and takes these arguments."""
    if words[0] == "ray":
        words = after(words, "--")
    if words[0] == "torchrun":
        words = ["stylealae", *after(words, "pipeline.cli")]
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[1] in targets
    elif words[0] == "stylealae":
        arguments = arguments_of(words)
        if "config" in arguments and arguments["config"].parts[0] == "configs":  # not one's own
            load(ROOT / arguments["config"], arguments["overrides"])
    elif words[0] == "python" and words[1] != "-m":
        script = ROOT / words[1]
        assert script.exists()
        overrides = [w for w in words[2:] if not w.startswith("--")]
        load(ROOT / "configs" / f"{script.stem}.yaml", overrides)


@pytest.mark.parametrize(
    ("words", "active"), [pytest.param(*line, id=" ".join(line[0])) for line in commands(README)]
)
def test_a_command_is_there_and_takes_these_arguments(words: list[str], active: bool):
    scripts = {script.name for script in entry_points(group="console_scripts")}
    assert words[0] in FRESH | (scripts | {"python"} if active else set())
    require_taken(words)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_the_commands_of_a_page_take_these_arguments(page: Path):
    for words, _ in commands(page.read_text()):
        require_taken(words)


def test_its_python_runs_on_a_small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    from stylealae import StyleALAE
    from stylealae.config import ModelConfig
    from stylealae.networks import build

    small = ModelConfig(
        resolution=32, start_channels=2, max_channels=4, z_width=4, w_width=4, mapping_layers=1
    )
    snapshot = tmp_path / "runs/demo/0032/snapshot"
    snapshot.mkdir(parents=True)
    StyleALAE(build(small), small, torch.zeros(8, 4), stage=3).save(snapshot)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names: dict[str, torch.Tensor] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["x"].shape == names["again"].shape == (4, 3, 32, 32)
    assert names["w"].shape == (4, 4)


def test_the_pictures_and_files_it_names_exist():
    headings = {
        "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)", README, re.M)
    }
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert target in headings or (ROOT / target).exists(), target
    for name in re.findall(r"`(launch/\w+\.py|configs/\w+\.yaml)`", README):
        assert (ROOT / name).exists(), name
