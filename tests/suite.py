"""Both parts of the suite, without Ray and with it, side by side, and one summary.

The part with Ray waits for processes most of the time; what it prints is shown after the other's.
Files stay together, as their fixtures do, and those that take long begin: tests/conftest.py.
With --slow it plays what `make test` leaves to `make test-slow`: the tests marked so.

python -m tests.suite [--slow] [what pytest takes]
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

SHARED_OUT = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""Pytest's words for the part without Ray: processes take a file at a time, twice as many as two
cores, for they wait as well: 7.5 minutes where three took 8.4."""
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
NO_TESTS = 5
"""Pytest's exit status if none was selected, which is all right for one part, and not for both."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one run of pytest ended."""

    passed: int
    skipped: int
    failures: tuple[str, ...]
    """The names of the tests that failed, or a sentence if pytest itself did."""

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failures)} failed, {self.skipped} skipped"

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            passed=self.passed + other.passed,
            skipped=self.skipped + other.skipped,
            failures=self.failures + other.failures,
        )


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    shown: IO[str] | None = None,
) -> Outcome:
    """The outcome of pytest with these arguments; what it prints is seen at once, or in a file.

    Bytecode is written even where the environment says not to: pytest's processes, and those that
    tests start, would otherwise compile every file anew, each for itself.
    """
    environment = {k: v for k, v in (environment or os.environ).items() if k != NO_BYTECODE}
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "junit.xml")
        command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={record}"]
        status = subprocess.run(
            command, env=environment, stdout=shown, stderr=subprocess.STDOUT, check=False
        ).returncode
        cases = list(ElementTree.parse(record).iter("testcase")) if record.exists() else []
    skipped = [c for c in cases if c.find("skipped") is not None]
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    failures = [f"{c.get('classname')}::{c.get('name')}" for c in failed]
    if status not in (0, NO_TESTS) and not failures:
        failures = [f"pytest itself, with status {status}"]
    return Outcome(
        passed=len(cases) - len(skipped) - len(failed),
        skipped=len(skipped),
        failures=tuple(failures),
    )


def main(arguments: Sequence[str]) -> int:
    """1 if a test of either part failed, 5 if there was none, else 0; the last line counts all."""
    chosen, rest = ("slow", arguments[1:]) if "--slow" in arguments[:1] else ("not slow", arguments)
    with_ray, without_ray = (["-m", f"{part} and {chosen}", *rest] for part in ("ray", "not ray"))
    with tempfile.TemporaryFile("w+") as shown, ThreadPoolExecutor() as pool:
        beside = pool.submit(run, with_ray, shown=shown)
        parts = {"without Ray": run([*SHARED_OUT, *without_ray]), "with Ray": beside.result()}
        shown.seek(0)
        print(f"\nwith Ray:\n{shown.read()}")
    for name, outcome in parts.items():
        print(f"{name + ':':13}{outcome}")
        for failure in outcome.failures:
            print(f"  FAILED {failure}")
    both = parts["without Ray"] + parts["with Ray"]
    print(f"both: {both}")
    if both == Outcome(passed=0, skipped=0, failures=()):
        print(f"no test is {chosen} and was asked for: `make test-slow` has those that take long")
        return NO_TESTS
    return bool(both.failures)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
