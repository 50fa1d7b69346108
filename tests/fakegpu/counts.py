"""What an iteration of the FFHQ-1024 model asks of a GPU, stage by stage, beside what is on record.

The record (counts.json) is the performance test that needs no GPU: more kernels, more bytes, more
arithmetic or a wait more than recorded is a regression.  `--record` writes it anew.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import _disable_current_modes

from pipeline.config import load
from tests.fakegpu.counter import Count
from tests.fakegpu.fusion import fused, keep, missing
from tests.fakegpu.inductor import costs
from tests.fakegpu.iterations import iterated

__all__ = ["STAGES", "Row", "counted", "record", "regressions", "table", "with_costs"]

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "ffhq_1024.yaml"
RECORD = Path(__file__).with_name("counts.json")
ONE_GPU = ("cluster.workers=[1]", "engine.micro_batch=[0]")
STAGES = (0, 4, 6, 8)
SLACK = 1.01
"""Other versions of torch take some operations apart in another way."""

Row = dict[str, Any]


def counted(stage: int, folder: Path, *, fuse: bool, tf32: str = "") -> Row:
    """One iteration of a grown stage with a whole batch on one GPU, and what it takes.

    `tf32`: another value of `engine.tf32`.
    """
    cfg = load(CONFIG, (*ONE_GPU, f"engine.tf32={tf32}") if tf32 else ONE_GPU)
    with fused() if fuse else nullcontext():
        count = iterated(cfg, stage, folder, fading=False)
    batch = cfg.progress(cfg.span(stage)[0]).batch
    told = {"tf32": tf32} if tf32 else {}
    return {"stage": stage, "fused": fuse, **told, "batch": batch, **_numbers(count)}


def with_costs(stage: int, folder: Path, *, fuse: bool, tf32: str = "") -> Row:
    """As `counted`; kernels of fused steps that are not on record are put there."""
    row = counted(stage, folder / "known", fuse=fuse, tf32=tf32)
    if fuse and (calls := missing()):
        with _disable_current_modes():
            keep(costs(calls))
        row = counted(stage, folder / "new", fuse=fuse, tf32=tf32)
    return row


def regressions(row: Row) -> str:
    """What has grown beyond the record; empty if nothing has."""
    kept = {_key(r): r for r in json.loads(RECORD.read_text())}.get(_key(row))
    if kept is None:
        return "there is no record of this stage: make one with --record"
    if row["fused"] and (calls := missing()):
        return f"not on record, make one with --record: {', '.join({c.kind for c in calls})}"
    flat, limits = _flat(row), _flat(kept)
    grown = [
        f"{name} {limits.get(name, 0):,} -> {value:,}"
        for name, value in flat.items()
        if value > SLACK * limits.get(name, 0)
    ]
    return ", ".join(grown)


def record(rows: list[Row]) -> None:
    """Puts these counts on record; those of other stages stay."""
    known = [*json.loads(RECORD.read_text()), *rows]
    kept = {_key(row): row for row in known}.values()
    RECORD.write_text("[\n" + ",\n".join(json.dumps(row) for row in kept) + "\n]\n")


def table(rows: list[Row]) -> Iterator[str]:
    """The lines that show them."""
    yield f"{'stage':>9} {'':>6} {'batch':>6} {'kernels':>8} {'GB moved':>9} {'waits':>6}  TFLOP"
    for row in rows:
        flop = ", ".join(f"{unit} {n / 1e12:.3f}" for unit, n in sorted(row["flop"].items()))
        side = 4 << row["stage"]
        how = row.get("tf32", "fused" if row["fused"] else "")
        yield (
            f"{f'{side}x{side}':>9} {how:>6} {row['batch']:>6} {row['kernels']:>8,} "
            f"{row['moved'] / 1e9:>9,.1f} {row['waits']:>6}  {flop}"
        )


def _key(row: Row) -> tuple[int, bool, str]:
    return row["stage"], row["fused"], row.get("tf32", "")


def _numbers(count: Count) -> Row:
    return {
        "kernels": count.kernels,
        "moved": count.moved,
        "waits": count.waited,
        "flop": dict(sorted(count.flop.items())),
    }


def _flat(row: Mapping[str, Any]) -> dict[str, int]:
    """Every number by a name of its own."""
    plain = {name: row[name] for name in ("kernels", "moved", "waits")}
    return plain | {f"flop in {unit}": n for unit, n in row["flop"].items()}
