"""`make test` runs both parts and fails if either does; `make test-portable` says what it could."""

from pathlib import Path

import pytest

from tests import portable, suite
from tests.portable import Setting, Used

GOOD = "def test_good(): assert True\n"
BAD = "def test_bad(): assert False\n"
LEFT_OUT = "@pytest.mark.skip\ndef test_left_out(): ...\n"
BROKEN = "import nothing_of_this_name\n"
SLOW = "@pytest.mark.slow\ndef test_slow(): assert False\n"
MARKED = "pytestmark = pytest.mark.ray\n"


@pytest.mark.parametrize(
    ("words", "without_ray", "with_ray", "status", "last"),
    [
        ([], BAD + LEFT_OUT, BAD, 1, "both: 0 passed, 2 failed, 1 skipped"),
        ([], SLOW, GOOD, 0, "both: 1 passed, 0 failed, 0 skipped"),
        ([], BROKEN, GOOD, 1, "both: 0 passed, 2 failed, 0 skipped"),
        (["--slow"], GOOD + SLOW, BAD, 1, "both: 0 passed, 1 failed, 0 skipped"),
    ],
    ids=["both fail", "the rest is slow", "unreadable", "what is slow"],
)
def test_both_parts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    without_ray: str,
    with_ray: str,
    status: int,
    last: str,
):
    (tmp_path / "test_one.py").write_text("import pytest\n" + without_ray)
    (tmp_path / "test_two.py").write_text(f"import pytest\n{MARKED}{with_ray}")
    monkeypatch.chdir(tmp_path)
    assert suite.main([*words, "-n", "0", "--import-mode=importlib"]) == status
    said = capfd.readouterr().out.splitlines()
    assert said[-1] == last
    named = [line for line in said if line.startswith("  FAILED")]
    assert len(named) == int(last.split()[3])


def test_nothing_played_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "test_one.py").write_text(f"import pytest\n{SLOW}")
    monkeypatch.chdir(tmp_path)
    assert suite.main(["-n", "0", "--import-mode=importlib", "test_one.py"]) == suite.NO_TESTS
    assert "`make test-slow` has those" in capfd.readouterr().out


def test_the_table_says_which_processors_could_be_emulated():
    old = Setting(aten="default", onednn="SSE41", threads=1)
    new = [Setting(aten="avx2", onednn="AVX512_CORE_AMX", threads=t) for t in (1, 2)]
    as_asked, without_amx = Used("DEFAULT", "Intel SSE4.1", 1), Used("AVX2", "Intel AVX-512", 1)
    outcomes = {
        as_asked: suite.Outcome(passed=3, skipped=1, failures=()),
        without_amx: suite.Outcome(passed=2, skipped=1, failures=("test_bad",)),
    }
    rows = [(old, as_asked), (new[0], without_amx), (new[1], without_amx)]
    shown = [line.split() for line in portable.table(rows, outcomes).splitlines()[-3:]]
    assert [words[3] for words in shown] == ["yes", "no", "no"]
    assert [words[4:6] for words in shown] == [["3", "passed,"], ["2", "passed,"], ["as", "above"]]


def test_the_libraries_are_asked_what_they_use():
    used = Setting(aten="default", onednn="SSE41", threads=1).used()
    assert used.aten == "DEFAULT"
    assert used.threads == 1
