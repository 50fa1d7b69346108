"""The processes that train together, and the few things they must agree on."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["World"]


@dataclass(frozen=True)
class World:
    """The processes that train together, and this one's place among them."""

    rank: int
    size: int
    device: torch.device

    def share(self, batch: int) -> slice:
        """This rank's part of a global batch."""
        n = batch // self.size
        return slice(self.rank * n, (self.rank + 1) * n)

    def any(self, flag: bool) -> bool:
        """True on every rank if it is true on one.  Collective."""
        return bool(self.mean([float(flag)])[0] > 0)

    def each(self, value: float) -> list[float]:
        """The value of every rank, on every rank.  Collective."""
        mine = [value * self.size if rank == self.rank else 0.0 for rank in range(self.size)]
        return self.mean(mine)

    def mean(self, values: list[float]) -> list[float]:
        """The mean of every number over the ranks.  Collective."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        return [float(v) for v in (self.sum(tensor) / self.size).tolist()]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place; each gives a tensor of the same shape.  Collective."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor
