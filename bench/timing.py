"""Timing in turn: A B C, A B C, so that what slows the machine slows all of them."""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from bench.apart import Spent, Step
from bench.peak import forget_peak, peak_mib


@dataclass
class Lap:
    """What one contender took, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mib: float = 0.0


def race(
    steps: dict[str, Step], rounds: int, *, warm: int = 1, budget_s: float = math.inf
) -> dict[str, Lap]:
    """Runs every contender in turn, `rounds` times after `warm` rounds that do not count.

    At least one round counts; none begins that would likely end after `budget_s` seconds.
    """
    laps = {name: Lap() for name in steps}
    since = time.monotonic()
    for i in range(warm + rounds):
        if i > warm and (time.monotonic() - since) * (i + 1) / i > budget_s:
            break
        for name, step in steps.items():
            if i == 0:
                forget_peak()
            cpu, start = time.process_time(), time.perf_counter()
            spent = step(i)
            seconds = time.perf_counter() - start
            if not isinstance(spent, Spent):
                spent = Spent(time.process_time() - cpu, peak_mib())
            if i >= warm:
                laps[name].seconds.append(seconds)
                laps[name].cpu.append(spent.cpu_s)
            if i == 0:
                laps[name].peak_mib = spent.peak_mib
    return laps


def cell(name: str, ours: Lap, theirs: Lap, images: int, **more: Any) -> dict[str, Any]:
    """A row of the table: `ratio` says how many times faster ours is."""
    mine, other = statistics.median(ours.seconds), statistics.median(theirs.seconds)
    return {
        "name": name,
        "ratio": round(other / mine, 3),
        "a_img_per_s": round(images / mine, 2),
        "b_img_per_s": round(images / other, 2),
        "a_cpu_s": round(statistics.median(ours.cpu), 3),
        "b_cpu_s": round(statistics.median(theirs.cpu), 3),
        "rounds": len(ours.seconds),
        **more,
    }


def compare(name: str, a: Step, b: Step, *, rounds: int, images: int) -> dict[str, Any]:
    """Times a against b."""
    laps = race({"a": a, "b": b}, rounds, warm=2)
    return cell(name, laps["a"], laps["b"], images)
