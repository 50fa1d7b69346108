"""What the command line says when something ends it, and where its progress goes."""

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.cli import progress
from pipeline.cli.__main__ import main as begin
from pipeline.cli.app import main
from pipeline.cli.arguments import PATH
from pipeline.cli.errors import EXTRAS, reporting, reports_errors, resumable, show_error
from pipeline.data.images import read_images

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text())
EXTRAS_OF_PROJECT = PROJECT["project"]["optional-dependencies"]


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
        (["prepare", "p", "--out", "o", "--workers", "-1"], "-1 is not in the range"),
        (["verify", "o", "--threads", "-1"], "-1 is not in the range"),
        (["inspect", "o", "--count", "0"], "0 is not in the range"),
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


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """What it shows."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_progress_without_a_terminal_is_lines_now_and_then(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress("styles", 4000) as advance:
        for _ in range(40):
            clock.now += 1.5
            advance(100)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "styles: about 60 s for 4,000",  # at the second step
        "styles: 700 of 4,000, about 50 s left",
        "styles: 1,400 of 4,000, about 40 s left",
        "styles: 2,100 of 4,000, about 30 s left",
        "styles: 2,800 of 4,000, about 18 s left",
        "styles: 3,500 of 4,000, about 8 s left",
    ]


def test_short_work_and_work_of_unknown_length_is_not_announced(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for total in (50, None):
        with progress.progress("styles", total) as advance:
            for _ in range(5):
                clock.now += 1.0
                advance(10)
    assert capsys.readouterr().err == ""


def test_what_was_done_before_is_not_counted_again(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.bars() as update:
        for done in range(1000, 1400, 100):
            update("images", done, 2000)
            clock.now += 2.0
    assert "images: about 20 s for 1,000\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (12.4, "12 s"), (43, "45 s"), (99, "100 s"), (150, "2 minutes"),
     (5000, "83 minutes"), (9000, "2.5 hours")],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert progress.in_words(seconds) == words


def test_bars_of_a_terminal_leave_nothing_behind_and_no_result_of_a_file_in_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.bars() as update:
        update("styles", 1, 2)
        click.echo("a result")
    said = capsys.readouterr()
    assert said.out == "a result\n"
    assert "a result" not in said.err
    assert "styles" in said.err
    assert said.err.endswith("\x1b[2K")  # the line is erased


def test_ctrl_c_is_told_by_the_command_where_it_knows_more() -> None:
    @click.command()
    @reports_errors
    def command() -> None:
        raise KeyboardInterrupt("2 of 5 metrics are above")

    assert CliRunner().invoke(command).output == "interrupted: 2 of 5 metrics are above\n"


def test_sentences_are_folded_for_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/a/very/long/path" * 6
    sentence = f"the folder {path} " + "holds something else than what was wanted here " * 3
    show_error(sentence)
    assert capsys.readouterr().err == f"error: {sentence}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    show_error(sentence)
    lines = click.unstyle(capsys.readouterr().err).splitlines()
    assert path in lines  # whole, to be copied
    assert max(len(line) for line in lines if line != path) <= 80
    assert " ".join(lines).split() == f"error: {sentence}".split()


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @click.command()
    @reports_errors
    def command() -> None:
        importlib.import_module("lmdb")

    monkeypatch.setitem(sys.modules, "lmdb", None)
    ended = CliRunner().invoke(command)
    assert ended.exit_code == 1
    assert ended.output == (
        "error: lmdb is not installed; it comes with the extra sources: pip install "
        "'stylealae[sources]', or in a clone pip install -c constraints.txt -e '.[sources]'\n"
    )


@pytest.mark.parametrize("name", ["pipeline.nothing", "stylealae.nothing", "ray.nothing", "numpy"])
def test_a_module_that_no_extra_brings_stays_a_traceback(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    @reports_errors
    def command() -> None:
        importlib.import_module(name)

    monkeypatch.setitem(sys.modules, name, None)
    assert isinstance(CliRunner().invoke(command).exception, ModuleNotFoundError)


def test_images_without_their_decoders_are_a_sentence(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(('cv2', 'simplejpeg')); "
        "from pipeline.cli.app import main; main()"
    )
    words = ["prepare", "6", "--source", "rendered", "--out", str(tmp_path / "set")]
    ended = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: (cv2|simplejpeg) is not installed; .*\n", ended.stderr)


def test_every_library_of_an_extra_is_named_with_one_that_brings_it() -> None:
    brings = {
        extra: {canonicalize_name(Requirement(line).name) for line in lines}
        for extra, lines in EXTRAS_OF_PROJECT.items()
    }
    modules = packages_distributions()
    for module, extra in EXTRAS.items():
        there = {canonicalize_name(name) for name in modules.get(module, [])}
        assert not there or there & brings[extra], f"{module} does not come with {extra}"
    named = {canonicalize_name(name) for module in EXTRAS for name in modules.get(module, [])}
    optional = set().union(*(brings[extra] for extra in brings.keys() - {"dev", "docs"}))
    here = {canonicalize_name(name) for names in modules.values() for name in names}
    assert (optional & here) - {"dlib-bin"} <= named  # which does not list its module dlib


def test_no_words_are_answered_with_the_help() -> None:
    said = CliRunner().invoke(main, []).output
    assert said.startswith("Usage: ")
    assert "error" not in said.split("Commands:")[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prepare", "rendered:6", "--out", "o", "--resolutions", "64..4"], "write 4..64"),
        (["prepare", "rendered:6", "--out", ""], "--out is empty: name a folder"),
        (["prepare", "rendered:6", "--out", "s3:/b/x"], "one slash .*: write s3://b/x"),
        (["prepare", f"rendered:{'9' * 99}", "--out", "o"], "states no number of images"),
        (["sample", "file/x", "--out", "file/x.png"], "file is a file: name another folder"),
        (
            ["sample", "model/config.json", "--out", "x.png"],
            "a file of a snapshot: give its folder",
        ),
        (["plan", "demo", "--gpu-gib", "-5"], "--gpu-gib is -5: give a number above 0"),
        (["plan", "demo", "--price", "nan"], "--price is nan"),
        (["plan", "demo", "schedule.lr=nan"], "schedule.lr is nan, and a finite number"),
        (["plan", "demo", "loss.r1_gamma=inf"], "loss.r1_gamma is inf"),
        (["plan", "demo", "schedule.batch.0=8"], "schedule.batch has no keys of its own"),
        (["edit", "m", "seed:1", "-a", "a=inf", "--out", "x.png"], "'a=inf': write a name and"),
        (["edit", "m", "seed:1", "-a", "a=1", "-a", "a=2", "--out", "x.png"], "a is given twice"),
        (["sample", "m", "--out", "x.png", "--seeds", "0-99999999999"], "more than a sheet holds"),
        (["watch", "nowhere"], "nowhere does not exist: give the folder that training wrote"),
        (["audit", "nowhere"], "nowhere does not exist: give the folder that training wrote"),
    ],
)
def test_slips_of_the_hand_are_named_with_what_to_write(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    ended = CliRunner().invoke(main, words)
    assert ended.exit_code == 1
    assert re.search(says, ended.output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


def test_a_tilde_is_the_home_where_the_shell_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert PATH.convert("~/x.png", None, None) == tmp_path / "x.png"
    made = CliRunner().invoke(
        main, ["prepare", "rendered:2", "--out=~/set", "--resolutions", "4", "--workers", "1"]
    )
    assert made.exit_code == 0, made.output
    drawn = CliRunner().invoke(main, ["inspect", "~/set", "--out=~/drawn"])
    assert drawn.exit_code == 0, drawn.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "set"]
    assert next(read_images(["~/set"], 4)).planes.shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (MemoryError(), "the memory of this machine does not suffice"),
        (PermissionError(13, "Permission denied", "x.png"), "x.png: Permission denied: mend the"),
        (OSError(28, "No space left on device"), "the output: No space left on device: make room"),
        (OSError("x.jsonl is no regular file"), "x.jsonl is no regular file: mend that"),
        (OSError(24, "Too many open files", "x.png"), "x.png: Too many open files: .*ulimit -n"),
        (UnicodeEncodeError("ascii", "r/é", 2, 3, "no"), "'r/é' .*ascii: set LC_ALL=C.UTF-8"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(fault: Exception, says: str) -> None:
    @click.command()
    @reports_errors
    def command() -> None:
        raise fault

    ended = CliRunner().invoke(command)
    assert ended.exit_code == 1
    assert re.match(f"error: {says}", ended.output)


def test_a_current_folder_that_is_gone_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = CliRunner().invoke(main, ["plan", "demo"])
    assert ended.exit_code == 1
    assert "the current folder cannot be read" in ended.output


class Loading(ModuleType):
    """A module in whose loading Ctrl-C is pressed."""

    def __getattr__(self, name: str) -> None:
        raise KeyboardInterrupt


def test_ctrl_c_while_the_commands_are_loaded_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.cli.app", Loading("pipeline.cli.app"))
    with pytest.raises(SystemExit) as ended:
        begin()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted: nothing was begun\n"
