"""What files of strangers cost until they are refused: a table for docs/security.md.

    python -m trials.hostile

Each case of tests/pipeline/test_hostile.py, in a process of its own that may allocate 512 MiB.
Exits with 1 if one takes two seconds of the processor, or is not refused with its sentence.
"""

import os
import resource
import signal
import sys
import tempfile
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tests.pipeline.test_hostile import CASES, CPU_S, MIB, refused

PATIENCE_S = 60
console = Console(highlight=False, soft_wrap=True, width=160)


def main() -> None:
    """Tries all, and prints the table."""
    torch.set_num_threads(1)
    _tried(next(iter(CASES)))  # what every case imports is there from now on
    table, well = Table(), True
    for heading in ("file", "s of the processor", "MiB", "says"):
        table.add_column(heading, no_wrap=heading == "file")
    for name, (_, said) in CASES.items():
        sentence, seconds, mib = measured(name)
        fine = said in sentence and seconds < CPU_S
        well &= fine
        table.add_row(
            name, f"{seconds:.2f}", f"{mib:.0f}", sentence[:100], style=None if fine else "red"
        )
    console.print(table)
    sys.exit(not well)


def measured(name: str) -> tuple[str, float, float]:
    """The sentence of a case, seconds of the processor, and MiB at most beyond what was held."""
    ours, theirs = Pipe()
    child = os.fork()
    if not child:
        _report(name, theirs)
    theirs.close()
    try:
        found: tuple[str, float, float] = ours.recv()
    except EOFError:
        found = "", 0.0, 0.0  # it has ended its process
    os.waitpid(child, 0)
    return found


def _report(name: str, told: Connection) -> None:
    """In the child: tries a case, within bounds."""
    signal.alarm(PATIENCE_S)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _held_mib()
    sentence, seconds = _tried(name)
    told.send((sentence, seconds, max(0.0, _held_mib() - before)))
    os._exit(0)


def _tried(name: str) -> tuple[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return refused(CASES[name][0], Path(folder))
        except Exception as error:
            return f"{type(error).__name__}: {error}", 0.0


def _held_mib() -> float:
    """The most that this process has held."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
