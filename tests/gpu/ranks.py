"""Part 8: two ranks on the one GPU over gloo, at every ZeRO stage."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from pipeline.world import World
from tests.gpu.setting import Row, Setting, row, small, trained

__all__ = ["rows", "weights_after"]

ROOT = Path(__file__).resolve().parents[2]
RANKS, BATCH, LIMIT_S = 2, 8, 25
ALIKE = 0.02
"""Relative difference of the weights from ZeRO 0's: Adam turns rounding into steps."""


def rows(s: Setting) -> Iterator[Row]:
    """Weights equal on both ranks, and near those of ZeRO 0.

    gloo has not every collective for tensors on GPUs: what it refuses is told as it says it.
    """
    plain = None
    for zero in (0,) if s.quick else (0, 1, 2, 3):
        found = _pair(s, zero)
        if isinstance(found, str):
            yield row(f"ZeRO {zero}", "" if "gloo" in found.lower() else found, said=found)
            continue
        one, other = found
        plain = one if plain is None else plain
        apart = float((one - other).norm() / one.norm())
        off = float((one - plain).norm() / plain.norm())
        wrong = "the ranks have drifted apart" if apart else ""
        wrong = wrong or ("" if off <= ALIKE else "the weights are not ZeRO 0's")
        yield row(f"ZeRO {zero}", wrong, ranks_apart=apart, from_zero_0=off)


def _pair(s: Setting, zero: int) -> list[torch.Tensor] | str:
    """The weights of both ranks, or what went wrong."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = {"device": s.device.type, "quick": s.quick, "zero": zero, "folder": str(s.folder)}
    common = {
        "WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "DS_ACCELERATOR": s.device.type, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    logs = [s.folder / f"rank{rank}-{zero}.log" for rank in range(RANKS)]
    until, started = time.monotonic() + LIMIT_S * (4 if s.quick else 1), []
    try:
        for rank, log in enumerate(logs):
            place = {"RANK": str(rank), "LOCAL_RANK": "0"}
            with log.open("w") as out:
                started.append(subprocess.Popen(
                    [sys.executable, "-m", "tests.gpu.ranks", json.dumps(asked)], cwd=ROOT,
                    env={**os.environ, **common, **place}, stdout=out, stderr=out,
                ))  # fmt: skip
        codes = [process.wait(timeout=max(0.0, until - time.monotonic())) for process in started]
    except subprocess.TimeoutExpired:
        codes = [1]
    finally:
        for process in started:
            process.kill()
            process.wait()
    if any(codes):
        lines = [line for log in logs for line in log.read_text().splitlines() if "Error" in line]
        return (lines or [f"not done after {LIMIT_S} s"])[-1][-300:]
    return [torch.load(s.folder / f"rank{rank}-{zero}.pt") for rank in range(RANKS)]


def weights_after(s: Setting, zero: int, world: World) -> torch.Tensor:
    """All weights in one vector on the CPU, after two iterations in float32."""
    cfg = small(s, "engine.precision=fp32", "engine.tf32=off", f"engine.zero_stage={zero}",
                f"schedule.batch=[{BATCH}]")  # fmt: skip
    with trained(cfg, cfg.last_stage, 0.5, BATCH, world) as iteration:
        for i in range(2):
            iteration(i)
        with iteration.engine.gathered():
            held = [p.detach().cpu().flatten().clone() for p in iteration.nets.parameters()]
    return torch.cat(held)


def _rank() -> None:
    """One rank, in its own process."""
    asked = json.loads(sys.argv[1])
    s = Setting(torch.device(asked["device"]), asked["quick"], Path(asked["folder"]))
    if s.on_gpu:
        torch.cuda.set_device(0)
    dist.init_process_group("gloo", timeout=timedelta(seconds=LIMIT_S))
    s.fuse("off")
    world = World(dist.get_rank(), dist.get_world_size(), s.device)
    found = weights_after(s, asked["zero"], world)
    torch.save(found, s.folder / f"rank{world.rank}-{asked['zero']}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _rank()
