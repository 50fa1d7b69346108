"""Part 10: the interface and the studio on the GPU, and an engine for the CPU beside it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fakegpu.interface import calls
from tests.gpu.setting import Row, Setting, row, small

__all__ = ["rows"]

ROOT = Path(__file__).resolve().parents[2]
BESIDE = """
import torch
from pathlib import Path
from tests.gpu.setting import Setting, small, trained
s = Setting(torch.device("cpu"), True, Path("."))
cfg = small(s)
with trained(cfg, 1, 0.5, 4, s.world()) as iteration:
    iteration(0)
    assert {p.device.type for p in iteration.nets.parameters()} == {"cpu"}
assert not torch.cuda.is_initialized(), "it has opened a context on the GPU"
"""


def rows(s: Setting) -> Iterator[Row]:
    """What raises."""
    wrong, ran = [], 0
    for name, call in calls(small(s)):
        ran += 1
        try:
            call()
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    yield row("interface and studio", "; ".join(wrong), calls=ran)
    done = subprocess.run(
        [sys.executable, "-c", BESIDE], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    said = (done.stderr.strip().splitlines() or [""])[-1]
    yield row("a CPU engine beside the GPU", said if done.returncode else "")
