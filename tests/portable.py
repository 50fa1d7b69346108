"""The suite without Ray as other processors would run it, one setting after the other.

    python -m tests.portable [what pytest takes]

torch's own kernels, oneDNN's and MKL's have versions for several instruction sets, and sums are
added in another order in each; so they are on one thread and on two. A processor can leave a set
out but not learn one: which it really used is asked of the libraries, and is in the last table.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from tests.suite import SHARED_OUT, Outcome, run

ATEN = {"default": "DEFAULT", "avx2": "AVX2"}
"""ATEN_CPU_CAPABILITY, and what torch then says that it uses."""
ONEDNN = {
    "SSE41": ("SSE4.1", "COMPATIBLE"),
    "AVX2": ("AVX2", "AVX2"),
    "AVX512_CORE_AMX": ("AMX", ""),
}
"""ONEDNN_MAX_CPU_ISA, a word of what oneDNN then says that it uses, and MKL_CBWR to match."""
THREADS = (1, 2)
PROBE = """
import torch
torch.nn.functional.conv2d(torch.ones(4, 16, 64, 64), torch.ones(16, 16, 3, 3))
print("used,", torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
"""


class Used(NamedTuple):
    """What the libraries say that they use."""

    aten: str
    onednn: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A processor to be like."""

    aten: str
    onednn: str
    threads: int

    def environment(self) -> dict[str, str]:
        """What makes the libraries behave so; threads that wait leave their core to others."""
        return {
            "ATEN_CPU_CAPABILITY": self.aten,
            "ONEDNN_MAX_CPU_ISA": self.onednn,
            "MKL_CBWR": ONEDNN[self.onednn][1],
            "OMP_NUM_THREADS": str(self.threads),
            "OMP_WAIT_POLICY": "passive",
        }

    def used(self) -> Used:
        """What a process with this environment uses on the processor at hand."""
        environment = {**os.environ, **self.environment(), "ONEDNN_VERBOSE": "1"}
        command = [sys.executable, "-c", PROBE]
        shown = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        aten, threads = re.findall(r"^used, (\w+) (\d+)$", shown.stdout, re.M)[0]
        (onednn,) = re.findall(r"cpu,isa:(.+)$", shown.stdout, re.M) or ["no oneDNN"]
        return Used(aten, onednn, int(threads))

    def is_emulated(self, used: Used) -> bool:
        """Whether that is what was asked for."""
        word, _ = ONEDNN[self.onednn]
        wanted = (ATEN[self.aten], self.threads)
        return (used.aten, used.threads) == wanted and word in used.onednn


SETTINGS = [
    Setting(aten=aten, onednn=onednn, threads=threads)
    for aten, onednn, threads in product(ATEN, ONEDNN, THREADS)
]


def main(arguments: Sequence[str]) -> int:
    """1 if a test failed in any setting, else 0; the last lines are a table of them all."""
    rows: list[tuple[Setting, Used]] = []
    outcomes: dict[Used, Outcome] = {}
    for setting in SETTINGS:
        used = setting.used()
        rows.append((setting, used))
        if used not in outcomes:
            print(f"\n{'  '.join(map('='.join, setting.environment().items()))}", flush=True)
            environment = {**os.environ, **setting.environment()}
            outcomes[used] = run([*SHARED_OUT, "-m", "not ray", *arguments], environment)
    for used, outcome in outcomes.items():
        for failure in outcome.failures:
            print(f"FAILED {failure}  on {used.aten}, {used.onednn}, {used.threads} threads")
    print(table(rows, outcomes))
    return any(outcome.failures for outcome in outcomes.values())


def table(rows: Sequence[tuple[Setting, Used]], outcomes: Mapping[Used, Outcome]) -> str:
    """A line for each setting: if this processor can emulate it, how it went, and what was used."""
    lines = [f"\n{'torch':9}{'oneDNN':17}{'threads':9}{'emulated':10}{'outcome':34}used"]
    seen: set[Used] = set()
    for setting, used in rows:
        emulated = "yes" if setting.is_emulated(used) else "no"
        outcome = "as above" if used in seen else str(outcomes[used])
        asked = f"{setting.aten:9}{setting.onednn:17}{setting.threads:<9}"
        lines.append(f"{asked}{emulated:10}{outcome:34}{used.aten}, {used.onednn}, {used.threads}")
        seen.add(used)
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
