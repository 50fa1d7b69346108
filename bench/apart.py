"""A contender in a process of its own, with the system's own settings."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from bench.peak import peak_mib

Step = Callable[[int], object]


@dataclass(frozen=True)
class Spent:
    """What a step took where it ran."""

    cpu_s: float
    peak_mib: float


@contextmanager
def apart(make: Callable[..., Step], *given: Any) -> Iterator[Callable[[int], Spent]]:
    """A step that another process makes from what is given, and does whenever it is asked to."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(
        target=_serve, args=(there, torch.get_num_threads(), make, given), daemon=True
    )
    process.start()
    there.close()

    def step(i: int) -> Spent:
        here.send(i)
        spent: Spent = here.recv()
        return spent

    try:
        yield step
    finally:
        here.close()
        process.join()


def _serve(asked: Connection, threads: int, make: Callable[..., Step], given: Any) -> None:
    torch.set_num_threads(threads)
    step = make(*given)
    while True:
        try:
            i = asked.recv()
        except EOFError:
            return
        since = time.process_time()
        step(i)
        asked.send(Spent(time.process_time() - since, peak_mib()))
