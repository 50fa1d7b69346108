"""Measurements, as ratios in one run: `make bench` prints a line each and writes build/bench.json.

Each pair is timed in turn, A B A B, and the ratio is that of the medians.  `ARGS=--quick` takes
fewer rounds and stages, `ARGS="--only step"` one part.  docs/performance.md says how to read it.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.augment import bench_augment
from bench.checkpoint import bench_checkpoint
from bench.cluster import bench_cluster
from bench.collectives import bench_collectives
from bench.driver import bench_driver
from bench.engine import bench_engine
from bench.family import bench_family
from bench.memory import bench_memory
from bench.plan import bench_plan
from bench.prepare import bench_prepare
from bench.step import bench_steps
from bench.stream import bench_opening, bench_shuffle, bench_stream
from bench.studio import bench_studio
from bench.tf32 import bench_tf32
from bench.timing import compare
from bench.wait import bench_wait
from pipeline.config import RunConfig, load
from pipeline.world import World, joined
from stylealae.config import ModelConfig

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench.json"
Cell = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What a part is given."""

    cfg: RunConfig
    world: World
    folder: Path
    quick: bool


def _stream(g: Given) -> Iterator[Cell]:
    yield from bench_shuffle()
    yield from bench_opening(g.folder / "huge")
    yield from bench_stream(g.folder, *((3, 0.3) if g.quick else (5, 1.0)))


PARTS: dict[str, Callable[[Given], Iterable[Cell]]] = {
    "step": lambda g: bench_steps(g.world, *((1, (0, 4, 8)) if g.quick else (3, (0, 2, 4, 6, 8)))),
    "engine": lambda g: bench_engine(g.cfg, g.world, 5 if g.quick else 25),
    "augment": lambda g: bench_augment(g.cfg, g.world, 5 if g.quick else 25),
    "memory": lambda g: bench_memory(g.world),
    "family": lambda g: bench_family(g.world, g.folder / "family", 1 if g.quick else 2),
    "stream": _stream,
    "prepare": lambda g: bench_prepare(compare, 3),
    "wait": lambda g: bench_wait(ROOT / "configs/demo.yaml", g.world),
    "studio": lambda g: bench_studio(3 if g.quick else 10),
    "checkpoint": lambda g: bench_checkpoint(
        g.world, ModelConfig(resolution=64) if g.quick else ModelConfig(), 3
    ),
    "collectives": lambda g: bench_collectives((2,) if g.quick else (2, 4)),
    "tf32": lambda g: bench_tf32((0, 2) if g.quick else (0, 2, 4, 6)),
    "driver": lambda g: bench_driver(),
    "plan": lambda g: bench_plan(load(ROOT / "configs/ffhq_1024.yaml"), g.quick),
    "ray": lambda g: bench_cluster(g.folder / "ray", 1 if g.quick else 3),
}
ALONE = ("collectives", "tf32", "driver", "plan", "ray")  # minutes each: only where asked for
LONG = ("memory", "prepare")  # not in --quick


def main() -> None:
    """Measures part by part; what is known is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and stages")
    parser.add_argument("--only", choices=PARTS, help="one part")
    given = parser.parse_args()
    threads = torch.get_num_threads()
    cfg = load(ROOT / "configs/demo.yaml", ["cluster.workers=[1]", f"engine.threads={threads}"])
    facts = {"machine": machine(), "cores": os.cpu_count(), "threads": threads}
    facts |= {"torch": torch.__version__}
    print(facts, flush=True)
    left_out = (*ALONE, *(LONG if given.quick else ()))
    names = [given.only] if given.only else [name for name in PARTS if name not in left_out]
    world, cells, since = joined(cfg.engine, gpu=False), [], time.monotonic()
    OUT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(f"-- {name}, after {time.monotonic() - since:.0f} s", flush=True)
            for row in PARTS[name](Given(cfg, world, Path(folder), given.quick)):
                cells.append(row)
                print(told(row), flush=True)
            OUT.write_text(json.dumps({**facts, "cells": cells}, indent=2))
    print(f"{OUT}, after {time.monotonic() - since:.0f} s")


def told(row: Cell) -> str:
    """A cell as a line."""
    ratio = f"{row['ratio']:>7}x" if "ratio" in row else " " * 8
    return f"{row['name']:56} {ratio}  {'  '.join(_further(row))}"


def _further(row: dict[str, Any]) -> Iterator[str]:
    """What else a row tells."""
    if "took_s" in row:
        first = f", the first time {row['first_s']} s" if "first_s" in row else ""
        yield f"{row['took_s']} s{first}"
    if "mib" in row:
        yield f"{row['mib']:,} MiB"
    if "seconds" in row:
        yield f"{row['seconds']} s, {row['peak_mib'] - row['of_it_imports_mib']} MiB"
        return
    if "collectives" in row:
        for kind, (calls, megabytes) in row["collectives"].items():
            yield f"{calls} {kind} {megabytes:,} MB"
        yield f"{row['in_backward_mb']:,} MB of it begun in the backward pass"
        return
    if "errors" in row:
        yield ", ".join(f"{name} off by {error:.1e}" for name, error in row["errors"].items())
        return
    if "waited" in row:
        yield f"{row['waited']:.2%} of its time, at most {row['waited_most']:.2%}"
        yield f"{1000 * row['step_s']:.0f} ms a step"
        return
    if "pairs_kept" in row:
        yield f"moved by {row['mean_displacement']:.3f} of an epoch, {row['pairs_kept']:.2%} kept"
    if "asked" in row:
        yield f"of {row['asked']}x asked"
    if "a_img_per_s" in row:
        yield f"{row['a_img_per_s']:,} img/s"
    if "limit_img_per_s" in row:
        yield f"of {row['limit_img_per_s']:,} copied"
    if "gflop_per_s" in row:
        yield f"{row['gflop_per_s']:,} GFLOP/s"
    if "of_conv_peak" in row:
        yield f"{row['of_conv_peak']:.0%} of the convolutions' peak"
    if "peak_mib" in row:
        yield f"{row['peak_mib'] / 1024:.1f} GiB"


def machine() -> str:
    """The processor's name."""
    facts = Path("/proc/cpuinfo")
    names = [line for line in facts.read_text().splitlines() if "model name" in line]
    return names[0].partition(":")[2].strip() if names else platform.machine()


if __name__ == "__main__":
    main()
