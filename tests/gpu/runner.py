"""The parts in their order, each in a process of its own, and what they found.

Nothing here imports torch: a part's process chooses its device before it does.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PARTS", "main"]

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "gpu.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A module of this package whose `rows(setting)` is run."""

    name: str
    limit_s: float
    faked: bool = False
    """Without a GPU it runs on the one that is not there, not on the CPU."""


PARTS = (
    Part("card", 40, faked=True),
    Part("iteration", 75),
    Part("speed", 280),
    Part("fusion", 100),
    Part("profile", 60),
    Part("gradients", 40),
    Part("stage", 45),
    Part("ranks", 60),
    Part("twice", 40),
    Part("service", 40, faked=True),
)
"""Most of "speed", and half of "fusion", is compiling; the parts after them find it done."""
MINUTES = 9.5
"""All parts together; what begins late has what is left."""


def main() -> int:
    """The exit code."""
    asked = _asked()
    if asked.part:
        return _run_here(asked)
    on, until = asked.on or _found(), time.monotonic() + 60 * asked.minutes
    results = []
    for part in PARTS:
        if asked.only and part.name not in asked.only.split(","):
            continue
        limit = min(part.limit_s * asked.patience, until - time.monotonic())
        results.append(_started(part, on, asked.quick or on == "cpu", limit))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps({"on": on, "parts": results}, indent=1))
    print(*_table(results), sep="\n")
    print(f"{asked.out}; {'measured' if on == 'cuda' else 'on the CPU: nothing here is measured'}")
    return int(any(result["wrong"] for result in results))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--only", default="", help="some parts, by their names, with commas")
    parser.add_argument("--quick", action="store_true", help="small, as without a GPU")
    parser.add_argument("--on", choices=("cuda", "cpu"), help="by itself: a GPU if there is one")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts together")
    parser.add_argument("--patience", type=float, default=1.0, help="times each part's limit")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _found() -> str:
    """Where to run: asked of a process that ends, so that nothing keeps the GPU."""
    script = "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return (done.stdout.split() or ["cpu"])[-1]


def _started(part: Part, on: str, quick: bool, limit_s: float) -> Row:
    """What a part found in its process, which is ended when its time is over."""
    began = time.monotonic()
    print(f"-- {part.name}, {max(limit_s, 0):.0f} s at most", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows, log = Path(folder, "rows"), Path(folder, "log")
        command = [sys.executable, "-m", "tests.gpu", "--part", part.name, "--rows", str(rows)]
        command += ["--on", on, *(["--quick"] if quick else [])]
        with log.open("w") as out:
            child = subprocess.Popen(
                command, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )
            try:
                code = child.wait(timeout=max(limit_s, 0))
                wrong = f"left with {code}: {_last_words(log)}" if code else ""
            except subprocess.TimeoutExpired:
                wrong = f"not done after {limit_s:.0f} s"
            finally:
                _end(child)
        found = (
            [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
        )
    for row in found:
        print(f"   {_line(row)}", flush=True)
    wrong = "; ".join(filter(None, [wrong, *(row["wrong"] for row in found if row["wrong"])]))
    if wrong:
        print(f"   WRONG: {wrong}", flush=True)
    seconds = round(time.monotonic() - began, 1)
    return {"part": part.name, "seconds": seconds, "wrong": wrong, "rows": found}


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends a part's process and those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-600:]


def _run_here(asked: argparse.Namespace) -> int:
    """A part in this process: a line of JSON for each row."""
    part = next(part for part in PARTS if part.name == asked.part)
    if part.faked and asked.on == "cpu":
        from tests.fakegpu.device import load

        load()
    from tests.gpu.setting import rows_of

    with tempfile.TemporaryDirectory() as folder, asked.rows.open("w") as out:
        for row in rows_of(part.name, asked.on, Path(folder), quick=asked.quick, fake=part.faked):
            out.write(json.dumps(row) + "\n")
            out.flush()
    return 0


def _table(results: list[Row]) -> Iterator[str]:
    """A line for each part, with its rows beneath."""
    for result in results:
        yield f"{'WRONG' if result['wrong'] else 'right'}  {result['part']}, {result['seconds']} s"
        yield from (f"       {_line(row)}" for row in result["rows"])
        if result["wrong"]:
            yield f"       WRONG: {result['wrong']}"


def _line(row: Row) -> str:
    numbers = ", ".join(f"{name} {_shown(value)}" for name, value in row["numbers"].items())
    return f"{row['what']}: {numbers or 'done'}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
