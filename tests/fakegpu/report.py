"""What was run, what went wrong where, and what was counted, as `make fakegpu` prints it."""

import argparse
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakegpu.cases import Case, cases, models, ranked, services
from tests.fakegpu.contents import without_content
from tests.fakegpu.counts import STAGES, Row, counted, record, regressions, table, with_costs
from tests.fakegpu.cuda import opened
from tests.fakegpu.fusion import fused
from tests.fakegpu.interface import calls
from tests.fakegpu.iterations import handed_over, iterated, world_of
from tests.fakegpu.measured import measurements
from tests.fakegpu.memory import HELD, planned_well

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("stylealae", "pipeline")
QUICK = (
    "iteration: stylealae, plain, fading, fp32", "iteration: stylealae, plain, fading, bf16",
    "iteration: stylealae, merged, grown, bf16", "iteration: stylealae, augmented, fading, bf16",
    "iteration: aae_classes, aae_semi_100, bf16", "iteration: alae, alae_mlp, fp16",
    "rank 1 of 2: stylealae", "all services due: stylealae", "interface: stylealae",
    "counts: 64x64, fused",
)  # fmt: skip
"""How the names of what `--quick` runs begin."""


Run = Callable[[Path], str]
"""Given a folder of its own: what is wrong, empty if nothing is."""


@dataclass(frozen=True)
class Part:
    """Something that is run."""

    name: str
    run: Run


def main() -> int:
    """The exit code."""
    asked = _asked()
    since, wrong, ran, rows = time.monotonic(), 0, 0, list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        for part in (*_parts(), *_counts(rows, asked.record)):
            if asked.only not in part.name or (asked.quick and not part.name.startswith(QUICK)):
                continue
            ran += 1
            began = time.process_time()
            found = _tried(lambda run=part.run, ran=ran: run(Path(folder, str(ran))))
            wrong += bool(found)
            if found or asked.verbose:
                took = f"{time.process_time() - began:5.1f} s" if asked.verbose else ""
                print(f"{'WRONG' if found else 'right'} {took} {part.name}{found and ': '}{found}")
    if asked.record:
        record(rows)
    print(*table(rows), sep="\n")
    print(f"{ran} run, {wrong} wrong, {time.monotonic() - since:.0f} s; counted, not measured")
    return int(wrong > 0)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakegpu", description=__doc__)
    parser.add_argument("--only", default="", help="run only what has this in its name")
    parser.add_argument("--quick", action="store_true", help="run a few, for the suite")
    parser.add_argument("--record", action="store_true", help="put the counts on record anew")
    parser.add_argument("--verbose", action="store_true", help="name what is right as well")
    return parser.parse_args()


def _parts() -> Iterator[Part]:
    """Everything but the counting, the iterations first."""
    for case in cases():
        yield Part(f"iteration: {case.name}", partial(_iteration, case))
        if case.name.startswith("stylealae, plain"):
            yield Part(f"iteration, fused: {case.name}", partial(_fused_iteration, case))
    for case in ranked():
        yield Part(f"rank 1 of 2: {case.name}", partial(_second_rank, case))
    for case in services():
        yield Part(f"all services due: {case.name}", partial(_services, case))
    for name, overrides in HELD.items():
        yield Part(f"memory: 256x256, {name}", lambda folder, o=overrides: planned_well(o, folder))
    for name, cfg in models():
        yield Part(f"interface: {name}", lambda _, cfg=cfg: _each(calls(cfg)))
        yield Part(f"metrics: {name}", lambda _, cfg=cfg: _each(measurements(cfg)))


def _counts(rows: list[Row], anew: bool) -> Iterator[Part]:
    """The counting; what is found is added to the rows."""

    def run(stage: int, fuse: bool, folder: Path, tf32: str = "") -> str:
        rows.append((with_costs if anew else counted)(stage, folder, fuse=fuse, tf32=tf32))
        return "" if anew else regressions(rows[-1])

    for stage in STAGES:
        for fuse in (False, True):
            name = f"counts: {4 << stage}x{4 << stage}{', fused' if fuse else ''}"
            yield Part(name, partial(run, stage, fuse))
    yield Part("counts: 256x256, fused, 3xtf32", partial(run, 6, True, tf32="3xtf32"))


def _iteration(case: Case, folder: Path) -> str:
    """The loop, in which the host is not to wait for the GPU, and which is to repeat itself."""
    count = iterated(case.cfg, case.stage, folder, fading=case.fading)
    waits = [f"the host waits {n} times for {what}" for what, n in count.waits.items()]
    if case.cfg.augment.warps:  # refused with engine.deterministic
        return "; ".join(waits) if count.unrepeatable else "it repeats itself, and is refused"
    return "; ".join(waits + [f"differs from run to run: {what}" for what in count.unrepeatable])


def _fused_iteration(case: Case, folder: Path) -> str:
    with fused():
        return _iteration(case, folder)


def _second_rank(case: Case, folder: Path) -> str:
    """The loop of the second of two ranks, which is to touch its own GPU alone."""
    opened.clear()
    try:
        world = world_of(1, 2)
        iterated(case.cfg, case.stage, folder, fading=case.fading, world=world)
        handed_over(world)
        others = opened - {world.device.index}
        return f"it opens a context on GPU {others} too" if others else ""
    finally:
        world_of(0)


def _services(case: Case, folder: Path) -> str:
    """Log, pictures, metrics and a checkpoint after every iteration."""
    iterated(case.cfg, case.stage, folder, fading=case.fading, iterations=2)
    return ""


def _each(calls: Iterator[tuple[str, Callable[[], Any]]]) -> str:
    """What is wrong with any of the calls."""
    wrong = [(name, found) for name, call in calls if (found := _raised(call))]
    return "; ".join(f"{name}: {found}" for name, found in wrong)


def _tried(run: Callable[[], str]) -> str:
    """What is wrong with a part."""
    with without_content():
        said: list[str] = []
        return _raised(lambda: said.append(run())) or said[0]


def _raised(call: Callable[[], Any]) -> str:
    """What a call raises, and where; empty if it raises nothing."""
    try:
        call()
    except Exception as error:  # whatever it is, it is named
        where = [
            f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(ROOT)
            and Path(frame.filename).relative_to(ROOT).parts[0] in PACKAGES
        ]
        said = str(error).splitlines()[0] if str(error) else ""
        return f"{type(error).__name__}: {said} ({where[-1] if where else 'nowhere in our code'})"
    return ""
