"""Which devices have their formulas compiled, and the kernels' cache on disk.

A formula is compiled once for each shape of an image, for any batch (and once more for a batch of
one, which torch's compiler takes for a constant).  Where that fails nothing is compiled any more:
the log says so once, and everything is computed as on a CPU.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

__all__ = ["Fuse", "FusedAsNow", "compiled", "fuse", "fuses", "planned"]

T = TypeVar("T")
Fuse = Literal["auto", "on", "off"]
"""On GPUs, on CPUs as well, nowhere."""

OPTIONS: dict[str, bool | int] = {
    # Computing a number again is cheaper than a pass over memory, even from nine pixels of a blur.
    "realize_reads_threshold": 100,
    "realize_opcount_threshold": 1000,
    "realize_acc_reads_threshold": 100,
    "split_reductions": False,  # the formulas sum by rows, which is parallel enough
}
COMPILERS = "4"
"""Processes that compile: a formula has no more kernels."""

_devices: set[str] = set()
_again: frozenset[str] = frozenset()
"""Where what is computed again goes through a compiler, or the formula in its place."""
_failed = False
_calls: dict[Hashable, Callable[..., Any]] = {}
_plans: list[Callable[..., Any]] = []


def fuse(mode: Fuse, cache: Path | None = None) -> None:
    """Sets, for this process, where what stands between convolutions is fused by a compiler.

    Called once where a process is set up, before it computes anything; nothing is fused without.

    Args:
        mode: "auto" fuses on GPUs, "on" on CPUs as well (slower there: for tests), "off" nowhere.
        cache: folder for kernels, shared by the processes of a host and used by the next start, in
            a folder for each CPU instruction set: by another's kernels torch's compiler computes
            nonsense. The environment's TORCHINDUCTOR_CACHE_DIR goes first.
    """
    global _failed
    _devices.clear()
    _calls.clear()
    _failed = False
    if mode == "auto" and torch.cuda.is_available() and not importlib.util.find_spec("triton"):
        _log("Triton is not installed")
    elif mode != "off":
        _devices.update({"cuda"} if mode == "auto" else {"cuda", "cpu"})
    if cache is not None:
        kernels = cache.expanduser() / torch.backends.cpu.get_cpu_capability().lower()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(kernels))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", COMPILERS)


@contextmanager
def planned(device: str, call: Callable[..., object]) -> Iterator[None]:
    """Inside, steps on a kind of device are fused by `call(formula, tensors, constants)`.

    Nothing is compiled: for those who count what would be.
    """
    before = set(_devices)
    _devices.add(device)
    _plans.append(call)
    try:
        yield
    finally:
        _plans.remove(call)
        _devices.clear()
        _devices.update(before)


class FusedAsNow:
    """Inside, steps go the way they go where this is made, even if a compiler has failed since.

    For what is computed again, once or more: it must keep the same tensors for the backward pass.
    """

    def __init__(self) -> None:
        self._devices = frozenset(_devices) | _again
        self._before: list[frozenset[str]] = []

    def __enter__(self) -> None:
        """Set it."""
        global _again
        self._before.append(_again)
        _again = self._devices

    def __exit__(self, *error: object) -> None:
        """Put it back."""
        global _again
        _again = self._before.pop()


def fuses(x: Tensor) -> bool:
    """Whether steps on x go through a compiler."""
    return x.device.type in _devices | _again and x.shape[0] > 0


def compiled(formula: Callable[..., T], tensors: Sequence[Tensor | None], *constants: float) -> T:
    """What the formula gives for tensors and constants, by kernels made for their shapes.

    A tensor of two dimensions or more has the batch in the first.
    """
    given = [None if t is None else t.detach() for t in tensors]
    if _plans:
        with torch.no_grad():
            counted: T = _plans[-1](formula, given, constants)
            return counted
    key = formula.__name__, constants, *(None if t is None else _kind(t) for t in given)
    with torch.no_grad():
        if call := _calls.get(key):
            found: T = call(*given, *constants)
            return found
        if _failed:  # of what went forwards before, or goes forwards again
            return formula(*given, *constants)
        return _first(formula, key, given, constants)


def _first(
    formula: Callable[..., T],
    key: Hashable,
    given: Sequence[Tensor | None],
    constants: Sequence[float],
) -> T:
    """The first call of its kind, which compiles; if that fails the formula itself."""
    global _failed
    import torch._dynamo  # a second of a start: only where something is compiled

    own = _own(formula, len(_calls))
    call: Callable[..., Any] = torch.compile(own, fullgraph=True, options=dict(OPTIONS))
    for t in given:
        if t is not None and t.ndim > 1 and t.shape[0] > 1:
            torch._dynamo.mark_dynamic(t, 0)
    try:
        found: T = call(*given, *constants)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        _failed = True
        _devices.clear()
        _log(f"compiling {formula.__name__} failed, {type(error).__name__}: {error}")
        return formula(*given, *constants)
    _calls[key] = call
    return found


def _kind(t: Tensor) -> Hashable:
    """What kernels depend on."""
    shape = t.shape[1:] if t.ndim > 1 else t.shape
    return t.device, t.dtype, shape, t.stride()[1:], t.ndim > 1 and t.shape[0] == 1


def _own(formula: Any, number: int) -> Any:
    """A copy of a function with code of its own, by which torch's compiler keeps its results apart.

    It tries what it has of one code object in turn, and gives up after eight shapes.
    """
    code = formula.__code__.replace(co_name=f"{formula.__name__}_{number}")
    return FunctionType(code, formula.__globals__, formula.__name__)


def _log(reason: str) -> None:
    logging.getLogger(__name__).warning(
        "nothing is fused between convolutions, which is slower: %s", reason.partition("\n")[0]
    )
