"""Where a process runs, and what it takes of the machine: for logs and reports."""

import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

import torch

__all__ = ["Environment", "environment", "kernels", "memory_scalars"]

GIB = 1 << 30
VECTOR = ("sse", "ssse", "avx", "amx", "fma", "sve", "asimd")
CHOOSE = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""Variables that choose the kernels of MKL and oneDNN; torch's own shows in its capability."""
PACKAGES = ("stylealae", "torch", "deepspeed", "webdataset", "ray", "numpy", "safetensors")


class Environment(TypedDict):
    """Where a process runs, and with what: a row of environment.jsonl."""

    time: str
    host: str
    system: str
    processor: str
    cores: int | None
    gpu: str | None
    cuda: str | None
    python: str
    kernels: dict[str, str]
    """What decides in which order it adds."""
    versions: dict[str, str]


def environment(device: torch.device) -> Environment:
    """Host, processor, GPU, versions and the time, as JSON."""
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": f"{gpu.name}, {gpu.total_memory / GIB:.0f} GiB" if gpu else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "kernels": kernels(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def kernels() -> dict[str, str]:
    """What determines the order of summation, and so every bit of a result.

    The libraries choose their kernels by the processor, by its vector instructions, by the number
    of threads and by a few variables of the environment.
    """
    cpu = _cpuinfo()
    model = [cpu.get(key, "") for key in ("vendor_id", "cpu family", "model", "stepping")]
    flags = (cpu.get("flags") or cpu.get("Features", "")).split()
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": " ".join(filter(None, model)) or platform.machine(),
        "instructions": " ".join(sorted(flag for flag in flags if flag.startswith(VECTOR))),
        "threads": str(torch.get_num_threads()),
        **{name: os.environ[name] for name in CHOOSE if name in os.environ},
    }


def memory_scalars(device: torch.device) -> dict[str, float]:
    """GiB that this process holds, and the most that it has held on its GPU, by tag."""
    found = {"system/memory_gib": _resident() / GIB}
    if device.type == "cuda":
        found["system/gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / GIB
    return found


def _resident() -> int:
    """Resident memory of this process in bytes; its peak where the system reports only that."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _cpuinfo() -> dict[str, str]:
    """The fields of /proc/cpuinfo for the first core; empty where there is no such file."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
