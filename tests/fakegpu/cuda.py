"""What torch's Python side asks of a GPU, answered without one.  See device.py."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import torch.cuda.amp.common
from torch._subclasses import fake_tensor

__all__ = ["COUNT", "MEMORY", "current_device", "install", "opened", "watched"]

COUNT = 2
"""GPUs, as stub.cpp has it."""
MEMORY = 80 << 30
NAME = "no GPU at all"
DEFAULT = torch.device("cuda", 0)

opened: set[int] = set()
"""GPUs that some thread has made its current one: each would hold a context of this process."""
_watchers: list[Callable[[str], None]] = []
_stub: list[ctypes.CDLL] = []


def install(stub: ctypes.CDLL) -> None:
    """Puts the stand-ins into their places."""
    _stub[:] = [stub]
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.autograd.set_multithreading_enabled(False)  # else backward leaves this thread's modes
    patched: Any = fake_tensor
    patched.init_gpu_context = lambda device: None
    patched.FakeTensorMode.avoid_device_init = True
    for name, stand_in in STAND_INS.items():
        setattr(torch.cuda, name, stand_in)
    generators = tuple(torch.Generator(f"cuda:{i}") for i in range(COUNT))
    torch.cuda.default_generators = generators


@contextmanager
def watched(noted: Callable[[str], None]) -> Iterator[None]:
    """Inside, every call that makes the host wait for the GPU is noted by its name."""
    _watchers.append(noted)
    try:
        yield
    finally:
        _watchers.remove(noted)


def current_device() -> int:
    """The number of this thread's GPU."""
    current: int = _stub[0].fakegpu_current()
    return current


def set_device(device: Any) -> None:
    """Makes a GPU this thread's, and opens a context on it."""
    opened.add(_index(device))
    _stub[0].fakegpu_set(_index(device))


class Stream(torch.Stream):
    """A stream: whatever is put into it is done at once."""

    def __new__(cls, device: Any = None, **_: Any) -> "Stream":
        return super().__new__(cls, device=torch.device("cuda", _index(device)))

    def wait_event(self, event: Any) -> None:
        """The host does not wait."""

    def wait_stream(self, stream: Any) -> None:
        """The host does not wait."""

    def synchronize(self) -> None:
        """The host waits."""
        _note("stream.synchronize")


class Event:
    """An event that has always come about."""

    def __init__(self, **_: Any) -> None:
        opened.add(current_device())

    def record(self, stream: Any = None) -> None:
        """Nothing is recorded."""

    def query(self) -> bool:
        """It has."""
        return True

    def synchronize(self) -> None:
        """The host waits."""
        _note("event.synchronize")


@contextmanager
def within(stream: Stream) -> Iterator[None]:
    """As torch does: the device is switched for the block, and then switched back."""
    before = current_device()
    set_device(stream.device)
    try:
        yield
    finally:
        set_device(before)


def _index(device: Any) -> int:
    if isinstance(device, int):
        return device
    index = None if device is None else torch.device(device).index
    return current_device() if index is None else index


def _note(what: str) -> None:
    for noted in _watchers:
        noted(what)


def _properties(device: Any = None) -> SimpleNamespace:
    return SimpleNamespace(name=NAME, total_memory=MEMORY, major=9, minor=0)


STAND_INS: dict[str, Any] = {
    "Event": Event,
    "Stream": Stream,
    "current_device": current_device,
    "current_stream": Stream,
    "device_count": lambda: COUNT,
    "empty_cache": lambda: None,
    "get_device_capability": lambda device=None: (9, 0),
    "get_device_name": lambda device=None: NAME,
    "get_device_properties": _properties,
    "is_available": lambda: True,
    "is_bf16_supported": lambda *_, **__: True,
    "is_initialized": lambda: True,
    "max_memory_allocated": lambda device=None: 0,
    "mem_get_info": lambda device=None: (MEMORY, MEMORY),
    "memory_allocated": lambda device=None: 0,
    "reset_peak_memory_stats": lambda device=None: None,
    "set_device": set_device,
    "stream": within,
    "synchronize": lambda device=None: _note("cuda.synchronize"),
}
