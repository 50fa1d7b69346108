"""Tensors to a GPU from pinned memory, while the GPU computes something else."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["DeviceCopy", "await_copy"]


class DeviceCopy:
    """A stream of copies to one GPU."""

    def __init__(self, device: torch.device) -> None:
        """Open the stream."""
        self._device = device
        self._beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, *tensors: Tensor) -> tuple[list[Tensor], torch.cuda.Event]:
        """The tensors on the GPU, and when they will have arrived."""
        with torch.cuda.stream(self._beside):
            there = [t.pin_memory().to(self._device, non_blocking=True) for t in tensors]
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._beside)
        return there, arrived


def await_copy(tensors: Sequence[Tensor], arrived: torch.cuda.Event) -> None:
    """Let the GPU's work from here on begin when the tensors have arrived."""
    now = torch.cuda.current_stream(tensors[0].device)
    now.wait_event(arrived)
    for tensor in tensors:
        tensor.record_stream(now)  # or their memory could be used again too early
