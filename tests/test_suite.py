"""`make test` runs both parts, fails if either does, and its last line counts those of both."""

from pathlib import Path

import pytest

from tests import suite

GOOD = "def test_good(): assert True\n"
BAD = "def test_bad(): assert False\n"
LEFT_OUT = "@pytest.mark.skip\ndef test_left_out(): ...\n"
BROKEN = "import nothing_of_this_name\n"
MARKED = "pytestmark = pytest.mark.ray\n"


@pytest.mark.parametrize(
    ("without_ray", "with_ray", "status", "last"),
    [
        pytest.param(BAD + LEFT_OUT, BAD, 1, "both: 0 passed, 2 failed, 1 skipped", id="both fail"),
        pytest.param("", GOOD, 0, "both: 1 passed, 0 failed, 0 skipped", id="one is empty"),
        pytest.param(BROKEN, GOOD, 1, "both: 0 passed, 2 failed, 0 skipped", id="unreadable"),
    ],
)
def test_both_parts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    without_ray: str,
    with_ray: str,
    status: int,
    last: str,
):
    (tmp_path / "test_one.py").write_text("import pytest\n" + without_ray)
    (tmp_path / "test_two.py").write_text(f"import pytest\n{MARKED}{with_ray}")
    monkeypatch.chdir(tmp_path)
    assert suite.main(["-n", "0", "--import-mode=importlib"]) == status
    said = capfd.readouterr().out.splitlines()
    assert said[-1] == last
    named = [line for line in said if line.startswith("  FAILED")]
    assert len(named) == int(last.split()[3])
