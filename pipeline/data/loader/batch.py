"""A rank's part of a global batch, and how it becomes what the networks see.

Pixels travel as uint8, to a GPU from pinned memory while the step before is computed; flip, scaling
and the fade-in blend happen there.

N batch (of this rank), C channels, R resolution
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as fn
from torch import Tensor

__all__ = ["Batch", "DeviceCopy", "classes_of", "on_device"]


@dataclass(frozen=True, eq=False)
class Batch:
    """This rank's part of one global batch."""

    x: Tensor
    """[N, C, R, R] uint8, not flipped yet."""
    flip: Tensor
    """[N] bool: which images are to be mirrored."""
    sample_ids: Tensor
    """[N] int64: place of each image in its split, in manifest order."""
    labels: Tensor | None = None
    """[N] float32: the label named by data.label, NaN where unknown; None if none is named."""
    arrived: torch.cuda.Event | None = None
    """On a GPU: when `x` and `flip` are there."""

    @property
    def classes(self) -> Tensor:
        """[N] int64: the label as a class, -1 where it is unknown."""
        return classes_of(len(self.x), self.labels)

    def slices(self, n: int) -> "list[Batch]":
        """Batches of n images each, in a row."""
        labels = self.labels
        return [
            Batch(
                *(self.x[p], self.flip[p], self.sample_ids[p]),
                *(None if labels is None else labels[p], self.arrived),
            )
            for p in (slice(begin, begin + n) for begin in range(0, len(self.x), n))
        ]


def on_device(batch: Batch | Tensor, alpha: float, device: torch.device | str) -> Tensor:
    """[N, C, R, R] float32 in [-1, 1] on `device`: flipped, scaled and cross-faded by `alpha`.

    Images alone, [N, C, R, R] uint8, are not flipped.
    """
    if isinstance(batch, Tensor):
        x = batch.to(device, non_blocking=True)
    else:
        if batch.arrived is not None:
            _await_copy(batch, batch.arrived)
        x = batch.x.to(device, non_blocking=True)
        flip = batch.flip.to(device, non_blocking=True)
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
    x = x.to(torch.float32) / 127.5 - 1.0
    if alpha < 1.0 and x.shape[-1] > 4:  # 4x4 has nothing to fade from
        coarse = fn.interpolate(fn.avg_pool2d(x, 2), scale_factor=2, mode="nearest")
        x = torch.lerp(coarse, x, alpha)
    return x


def classes_of(n: int, labels: Tensor | None) -> Tensor:
    """[n] float32, NaN where unknown -> [n] int64, -1 there; None is all unknown."""
    if labels is None:
        return torch.full((n,), -1)
    return torch.where(labels.isnan(), -1.0, labels).long()


class DeviceCopy:
    """Copies to one GPU from pinned memory, while the GPU computes something else."""

    def __init__(self, device: torch.device) -> None:
        """Open a stream of its own for them."""
        self._device = device
        self._beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, batch: Batch) -> Batch:
        """The batch with images and flips on the GPU, and when they will have arrived."""
        # The current GPU is a thread's own: without this the loader's would be the first one, and
        # every process of a host would hold a context on it.
        torch.cuda.set_device(self._device)
        with torch.cuda.stream(self._beside):
            x, flip = (
                t.pin_memory().to(self._device, non_blocking=True) for t in (batch.x, batch.flip)
            )
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._beside)
        return replace(batch, x=x, flip=flip, arrived=arrived)


def _await_copy(batch: Batch, arrived: torch.cuda.Event) -> None:
    """Let the GPU's work from here on begin when the batch has arrived."""
    now = torch.cuda.current_stream(batch.x.device)
    now.wait_event(arrived)
    for tensor in (batch.x, batch.flip):
        tensor.record_stream(now)  # or their memory could be used again too early
