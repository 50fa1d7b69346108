"""Every command in the README is one that exists and takes these arguments."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.config import load

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> list[list[str]]:
    """The words of every shell line, comments and continuations taken out."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def after(words: list[str], marker: str) -> list[str]:
    return words[words.index(marker) + 1 :]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_command(words: list[str]):
    if words[0] == "ray":
        words = after(words, "--")
    if words[0] == "torchrun":
        words = ["stylealae", *after(words, "pipeline.cli")]
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[1] in targets
    elif words[0] == "stylealae":
        command = main.commands[words[1]]
        arguments = command.make_context(words[1], list(words[2:])).params
        if "config" in arguments:
            load(ROOT / arguments["config"], arguments["overrides"])
    else:
        assert words[0] == "python"
        script = ROOT / words[1]
        assert script.exists()
        overrides = [w for w in words[2:] if not w.startswith("--")]
        load(ROOT / "configs" / f"{script.stem}.yaml", overrides)


def test_the_picture_and_files_it_names_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"`(launch/\w+\.py|configs/\w+\.yaml)`", README):
        assert (ROOT / name).exists(), name
