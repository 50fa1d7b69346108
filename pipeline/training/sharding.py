"""ZeRO 1: each rank updates a part of every network, and the ranks exchange what they must.

The weights of a network lie in one vector, cut into buckets of whole parameters.  During the
backward pass a bucket is reduce-scattered as soon as all its gradients are there: every rank gets
the mean gradient of its part.  After the step the parts are gathered, of the networks that moved.

Not DeepSpeed's, which does all other stages: its ZeRO 1 (0.19.8) all-reduces, which is twice the
bytes, or reduces bucket by bucket and waits for the device before each; it gathers every network
after every step, and visits each of their parameters on the host to do so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pipeline.training.optimizer import ByNetwork
from pipeline.training.partition import NetworkParams, Partition
from pipeline.world import World

__all__ = ["Sharded"]

ALIGNMENT = {"cuda": 4}
"""Lengths of parameters and parts are multiples of so many numbers: GPUs load 16 bytes at once."""
PART = 2
"""The same of parts elsewhere, as DeepSpeed has it."""
# torch 2.13 calls them by the first names, torch 2.11 by the second.
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


@dataclass(eq=False)
class Bucket:
    """Some parameters of a network, one after the other in one vector."""

    params: list[nn.Parameter]
    slices: list[slice]
    """Where each of them lies in the vector."""
    weights: Tensor
    """The vector."""
    part: nn.Parameter
    """The share of it that this rank updates: a view."""
    missing: int = 0
    """Gradients of this phase that are not there yet."""
    mean: Tensor | None = None
    """The gradient of the part, once its reduction has begun; it has ended after `work.wait()`."""
    work: dist.Work | None = None
    hooks: list[RemovableHandle] = field(default_factory=list)

    def of(self, vector: Tensor) -> list[Tensor]:
        """A vector like `weights` as the parameters that lie in it."""
        pairs = zip(self.params, self.slices, strict=True)
        return [vector[place].view(p.shape) for p, place in pairs]


class Sharded(Partition):
    """ZeRO 1 of all networks of an engine."""

    def __init__(
        self, params: NetworkParams, world: World, *, bucket: int, reduce_dtype: torch.dtype
    ) -> None:
        """Moves the parameters into vectors.

        Args:
            params: the parameters of every network.
            world: the ranks.
            bucket: numbers that a bucket holds at most, unless one parameter has more; 0: no end.
            reduce_dtype: what gradients are summed up in.
        """
        super().__init__(params)
        self._world, self._dtype = world, reduce_dtype
        self._group: dist.ProcessGroup
        self._buckets = {
            network: [self._made(part) for part in _cut(grown, bucket)]
            for network, grown in params.items()
        }
        self._trained: Sequence[str] = ()
        self._reducing = False

    def attach(self, optimizer: ByNetwork, engine: Any) -> None:
        """Takes the optimizer, and DeepSpeed's group: another one would double NCCL's buffers."""
        super().attach(optimizer, engine)
        self._group = engine.data_parallel_group

    def held(self, network: str) -> list[Tensor]:
        """This rank's part of every bucket."""
        return [bucket.part for bucket in self._buckets[network]]

    def begin(self, trained: Sequence[str]) -> None:
        """A phase begins that trains these networks."""
        self._trained, self._reducing = trained, False
        for bucket in self._active():
            bucket.missing = sum(p.requires_grad for p in bucket.params)

    def reduce_from_here(self) -> None:
        """The next backward pass is the phase's last: what it completes is reduced."""
        self._reducing = True

    def reduced(self) -> None:
        """Reduces what the backward pass left, and waits for the rest."""
        for bucket in self._active():
            if bucket.mean is None:  # it has parameters that the loss does not depend on
                self._reduce(bucket)
        for bucket in self._active():
            assert bucket.work is not None
            assert bucket.mean is not None
            bucket.work.wait()
            bucket.part.grad, bucket.mean, bucket.work = bucket.mean.float(), None, None

    def stepped(self) -> None:
        """Gathers the weights of the networks that have moved."""
        moved = list(self._active())
        works = [
            _all_gather(b.weights, b.part.detach(), group=self._group, async_op=True) for b in moved
        ]
        for bucket, work in zip(moved, works, strict=True):
            work.wait()
            bucket.part.grad = None

    def moments(self, network: str, name: str) -> dict[nn.Parameter, Tensor]:
        """One moment of a network, whole, by parameter.  Collective."""
        found: dict[nn.Parameter, Tensor] = {}
        for bucket in self._buckets[network]:
            whole = torch.empty_like(bucket.weights)
            _all_gather(whole, self.optimizer.state[bucket.part][name], group=self._group)
            found |= zip(bucket.params, bucket.of(whole), strict=True)
        return found

    def set_moments(self, network: str, name: str, values: dict[nn.Parameter, Tensor]) -> None:
        """Takes over this rank's part of what `moments` gave."""
        for bucket in self._buckets[network]:
            whole = torch.zeros_like(bucket.weights)
            torch._foreach_copy_(bucket.of(whole), [values[p] for p in bucket.params])
            self.optimizer.state[bucket.part][name].copy_(self._share(whole))

    def close(self) -> None:
        """Removes the hooks from the parameters."""
        for buckets in self._buckets.values():
            for bucket in buckets:
                for hook in bucket.hooks:
                    hook.remove()

    def _active(self) -> Iterator[Bucket]:
        return (bucket for network in self._trained for bucket in self._buckets[network])

    def _made(self, params: list[nn.Parameter]) -> Bucket:
        """A new bucket, into whose vector the parameters' weights are moved."""
        device = params[0].device
        alignment, slices, end = ALIGNMENT.get(device.type, 1), list[slice](), 0
        for p in params:
            slices.append(slice(end, end + p.numel()))
            end = _rounded(end + p.numel(), alignment)
        whole = _rounded(end, ALIGNMENT.get(device.type, PART) * self._world.size)
        weights = torch.zeros(whole, device=device)
        part = nn.Parameter(self._share(weights))
        bucket = Bucket(params, slices, weights, part)
        for p, view in zip(params, bucket.of(weights), strict=True):
            p.data = view.copy_(p.data)
            leaf: Any = p
            hook = partial(self._arrived, bucket)
            bucket.hooks.append(leaf.register_post_accumulate_grad_hook(hook))
        return bucket

    def _share(self, vector: Tensor) -> Tensor:
        """This rank's part of a vector.  -> a view"""
        return vector.chunk(self._world.size)[self._world.rank]

    def _arrived(self, bucket: Bucket, _: Tensor) -> None:
        """Counts a gradient of this bucket; the last one begins the reduction."""
        if self._reducing:
            bucket.missing -= 1
            if not bucket.missing:
                # All ranks compute the same graph, so buckets are complete in the same order.
                self._reduce(bucket)

    @torch.no_grad()
    def _reduce(self, bucket: Bucket) -> None:
        """Begins to average a bucket's gradients over the ranks; what has none counts as 0."""
        pairs = zip(bucket.params, bucket.slices, strict=True)
        grads = [(p.grad, place) for p, place in pairs if p.grad is not None]
        vector = torch.zeros_like(bucket.weights, dtype=self._dtype)
        if grads:
            own = [grad.flatten() for grad, _ in grads]
            torch._foreach_div_(own, self._world.size)
            torch._foreach_copy_([vector[place] for _, place in grads], own)
        for p in bucket.params:
            p.grad = None
        bucket.mean = torch.empty_like(self._share(vector))
        bucket.work = _reduce_scatter(bucket.mean, vector, group=self._group, async_op=True)


def _cut(params: list[nn.Parameter], most: int) -> Iterator[list[nn.Parameter]]:
    """The parameters in their order, in pieces of at most so many numbers; 0: in one."""
    piece: list[nn.Parameter] = []
    numbers = 0
    for p in params:
        if most and piece and numbers + p.numel() > most:
            yield piece
            piece, numbers = [], 0
        piece.append(p)
        numbers += p.numel()
    yield piece


def _rounded(n: int, step: int) -> int:
    """N rounded up to a multiple of `step`."""
    return -(-n // step) * step
