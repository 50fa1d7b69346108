"""The rendezvous of a group of workers: over the network, or in a file on our own host.

torch's TCP store listens on every interface and authenticates nobody.  Between hosts there is no
other; on one host a file does the same.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    _set_torch_distributed_env_vars,
    _setup_torch_process_group,
    _TorchBackend,
)

__all__ = ["rendezvous_config"]

TIMEOUT_S = 600


class _InFile(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: "_InFileConfig") -> None:
        """As Ray does, with a file in the place of an address and a port."""
        worker_group.execute(_set_torch_distributed_env_vars)
        # It stays: DeepSpeed's own groups use it later.  The driver removes the folder.
        file = Path(tempfile.mkdtemp(dir=backend_config.folder)) / "group"
        size = len(worker_group)
        about = {"world_size": size, "init_method": f"file://{file}", "timeout_s": TIMEOUT_S}
        ray.get(
            [
                worker_group.execute_single_async(
                    rank,
                    _setup_torch_process_group,
                    backend=backend_config.backend,
                    world_rank=rank,
                    **about,
                )
                for rank in range(size)
            ]
        )


@dataclass
class _InFileConfig(TorchConfig):  # type: ignore[misc]
    folder: str = ""
    """Where a group's file is made, on the host of all workers."""

    @property
    def backend_cls(self) -> type[_InFile]:
        return _InFile


def rendezvous_config(backend: str, *, folder: str) -> TorchConfig:
    """Ray Train's config of a rendezvous: in a file below `folder`, over the network without."""
    if folder:
        return _InFileConfig(backend=backend, timeout_s=TIMEOUT_S, folder=folder)
    return TorchConfig(backend=backend, timeout_s=TIMEOUT_S)
