"""Where a process runs, and what it takes of the machine: for logs and reports."""

import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["environment", "memory_scalars"]

GIB = 1 << 30
PACKAGES = ("stylealae", "torch", "deepspeed", "webdataset", "ray", "numpy", "safetensors")


def environment(device: torch.device) -> dict[str, Any]:
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
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def memory_scalars(device: torch.device) -> dict[str, float]:
    """GiB that this process holds, and the most that it has held on its GPU, by tag."""
    found = {"system/memory_gib": _resident() / GIB}
    if device.type == "cuda":
        found["system/gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / GIB
    return found


def _resident() -> int:
    """Bytes of this process that are in memory; where only that is told, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
