"""The rendezvous of a group of workers: over the network, or in a file on our own host.

torch's TCP store listens on every interface and authenticates nobody.  Between hosts there is no
other; on one host a file does the same.  As Ray's own for torch, but for what loads torch: here
only the workers do, and neither the driver nor Ray Train's controller.
"""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig

__all__ = ["Rendezvous"]

TIMEOUT_S = 600
LEAVE_S = 30


@dataclass
class Rendezvous(BackendConfig):  # type: ignore[misc]
    """Where and by what library the workers of a group meet."""

    backend: str
    """gloo or nccl."""
    folder: str = ""
    """Where a group's file is made, on the host of all workers; they meet over the network if
    empty."""

    @property
    def backend_cls(self) -> type["_TorchGroup"]:
        """What Ray Train calls when a group begins and ends."""
        return _TorchGroup


class _TorchGroup(Backend):  # type: ignore[misc]
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Rendezvous) -> None:
        """Has the workers join a process group."""
        folder, size = backend_config.folder, len(worker_group)
        if folder:
            # It stays: DeepSpeed's own groups use it later.  The driver removes the folder.
            where = f"file://{Path(tempfile.mkdtemp(dir=folder)) / 'group'}"
            variables = {}
        else:
            address, port = worker_group.execute_single(0, get_address_and_port)
            where, variables = "env://", {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
        calls = [
            worker_group.execute_single_async(
                rank, _join, backend_config.backend, rank, size, where, variables
            )
            for rank in range(size)
        ]
        ray.get(calls)

    def on_shutdown(self, worker_group: Any, backend_config: Rendezvous) -> None:
        """Has the workers leave it; one that is lost ends the wait with its error."""
        with suppress(ray.exceptions.GetTimeoutError):
            ray.get(worker_group.execute_async(_leave, len(worker_group) > 1), timeout=LEAVE_S)


def _join(backend: str, rank: int, size: int, where: str, variables: dict[str, str]) -> None:
    from ray.train.torch import config

    os.environ.update(variables)
    if backend == "nccl":  # torch's own default: Ray's aborts the communicators before the process
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3")
    config._set_torch_distributed_env_vars()
    config._setup_torch_process_group(backend, rank, size, where, TIMEOUT_S)


def _leave(destroy: bool) -> None:
    from ray.train.torch import config

    config._shutdown_torch(destroy_process_group=destroy)
