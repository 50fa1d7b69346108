"""Starts several real processes that train together over gloo, and collects what each one found.

    results = run_ranks(2, job, tmp_path)      job(world) -> anything torch.save takes

The job is a function at the top of a test file: every process loads that file by its path.
"""

import importlib.util
import inspect
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 240


def run_ranks(
    n: int, job: Callable[..., Any], folder: Path, timeout_s: float = TIMEOUT_S
) -> list[Any]:
    """What `job` gives back on each of n ranks, in their order."""
    command = [sys.executable, __file__, inspect.getfile(job), job.__name__, str(folder)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    common = {
        "PYTHONPATH": path,
        "WORLD_SIZE": str(n),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    logs = [folder / f"rank{rank}.log" for rank in range(n)]
    started = []
    try:
        for rank, log in enumerate(logs):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            with log.open("w") as out:
                process = subprocess.Popen(
                    command, env={**os.environ, **common, **place}, stdout=out, stderr=out
                )
            started.append(process)
        codes = [process.wait(timeout=timeout_s) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    if any(codes):
        told = "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)
        raise AssertionError(f"ranks left with {codes}\n{told}")
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(n)]


def main(file: str, name: str, folder: str) -> None:
    """One rank: joins the others, does the job, leaves its result in the folder."""
    from pipeline.config.sections import EngineConfig
    from pipeline.world import joined

    world = joined(EngineConfig(threads=1), gpu=False)
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = getattr(module, name)(world)
    torch.save(result, Path(folder) / f"rank{world.rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
