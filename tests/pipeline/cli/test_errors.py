"""What the command line says when something ends it, and where its progress goes."""

import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import output
from pipeline.cli.app import main
from pipeline.cli.errors import reporting, reports_errors, resumable


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (reports_errors, "interrupted: nothing was written"),
        (resumable, "interrupted: the same command goes on where it was"),
        (reporting("half is there"), "interrupted: half is there"),
    ],
)
def test_ctrl_c_says_what_it_leaves(
    report: Callable[[Callable[[], None]], Callable[[], None]], says: str
) -> None:
    @click.command()
    @report
    def command() -> None:
        raise KeyboardInterrupt

    ended = CliRunner().invoke(command)
    assert (ended.exit_code, ended.output) == (130, f"{says}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sampel"], "No such command 'sampel'. Did you mean 'sample'?"),
        (["sample"], "Missing argument 'MODEL'."),
        (["sample", "m", "--out", "o.png", "--count", "0"], "'--count': 0 is not in the range"),
        (["sample", "m", "--out", "o.png", "--sede", "0"], "No such option '--sede'"),
    ],
)
def test_wrong_words_are_an_error_with_the_way_to_the_help(words: list[str], says: str) -> None:
    ended = CliRunner().invoke(main, words)
    assert ended.exit_code == 2
    assert ended.output.startswith("error: ")
    assert says in ended.output
    assert "--help`" in ended.output


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("stylealae, version ")


def test_progress_without_a_terminal_is_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 11.0, 11.0, 12.0, 30.0, 30.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    with output.progress("styles", 4000) as advance:
        for _ in range(3):
            advance(1000)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "styles: 1,000 of 4,000\nstyles: 3,000 of 4,000\n"


def test_bars_of_a_terminal_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with output.bars() as update:
        update("styles", 1, 2)
    said = capsys.readouterr().err
    assert "styles" in said
    assert said.endswith("\x1b[2K")  # the line is erased
