"""Starts several real processes that train together over gloo, and collects what each one found.

    results = run_ranks(2, job, tmp_path)      job(world, *given) -> anything torch.save takes

The job is a function at the top of a test file: every process loads that file by its path.  All are
forks of one that has loaded torch and DeepSpeed and computed nothing: seconds of each one's start.
"""

import importlib.util
import inspect
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch

TIMEOUT_S = 600
LOADED = ["deepspeed", "torch._dynamo", "pipeline.training.trainer", "tests.reference.plain"]


def run_ranks(
    n: int,
    job: Callable[..., Any],
    folder: Path,
    timeout_s: float = TIMEOUT_S,
    given: Sequence[str] = (),
) -> list[Any]:
    """What `job` gives back on each of n ranks, in their order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        forks().Process(
            target=rank,
            args=(
                inspect.getfile(job),
                job.__name__,
                folder,
                {**os.environ, **common, "RANK": str(i), "LOCAL_RANK": str(i)},
                given,
            ),
        )
        for i in range(n)
    ]
    until = time.monotonic() + timeout_s
    try:
        for process in started:
            process.start()
        for process in started:
            process.join(until - time.monotonic())
        codes = [process.exitcode for process in started]
    finally:
        for process in started:
            process.kill()
            process.join()
    if any(code != 0 for code in codes):
        logs = sorted(folder.glob("rank*.log"))
        told = "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)
        raise AssertionError(f"ranks left with {codes}\n{told}")
    return [torch.load(folder / f"rank{i}.pt") for i in range(n)]


@cache
def forks() -> ForkServerContext:
    """What starts the processes."""
    os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed chooses its device when it is loaded
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


def rank(
    file: str, name: str, folder: Path, environment: dict[str, str], given: Sequence[str]
) -> None:
    """One rank: joins the others, does the job, leaves its result in the folder."""
    os.environ.clear()
    os.environ.update(environment)
    out = os.open(folder / f"rank{environment['RANK']}.log", os.O_CREAT | os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from pipeline.config.sections import EngineConfig
    from pipeline.world import joined

    world = joined(EngineConfig(threads=1), gpu=False)
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = getattr(module, name)(world, *given)
    torch.save(result, folder / f"rank{world.rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
