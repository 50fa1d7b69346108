"""What tensors without content answer when they are asked for it, and memory that is pinned.

A number is 0, an array has made-up numbers, and of a mask everything is chosen: the code behind
goes on, and what it makes of them means nothing.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["device_of", "is_pinned", "without_content"]

aten = torch.ops.aten
PLAIN = {torch.bool: False, torch.int64: 0, torch.int32: 0, torch.uint8: 0}


@contextmanager
def without_content() -> Iterator[FakeTensorMode]:
    """Inside, tensors have no content, and may be on "cuda"."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(FakeTensor, "numpy", _numpy))
        stack.enter_context(mock.patch.object(FakeTensor, "__deepcopy__", _copied))
        stack.enter_context(mock.patch.object(nn.Module, "_apply", _applied))
        # As it is beneath wrappers for torch.compile, which are a fifth of the time.
        lean = inspect.unwrap(FakeTensorMode.__torch_dispatch__)
        stack.enter_context(mock.patch.object(FakeTensorMode, "__torch_dispatch__", lean))
        mode = stack.enter_context(
            FakeTensorMode(allow_non_fake_inputs=True, allow_fallback_kernels=False)
        )
        stack.enter_context(_Answers())
        yield mode


def device_of(tensor: Tensor) -> torch.device:
    """As `tensor.device`, which for tensors without content is an operation."""
    found = getattr(tensor, "fake_device", None)
    return tensor.device if found is None else found


def is_pinned(tensor: Tensor) -> bool:
    """Whether a GPU can fetch it without the host's help."""
    return getattr(tensor.untyped_storage(), "pinned", False)


class _Answers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What FakeTensorMode leaves open."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so costs time

    def __torch_dispatch__(
        self, op: Any, types: Any, given: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        """Answers for an operation, or passes it on."""
        if op is torch.ops.prim.device.default:
            return device_of(given[0])
        named = dict(named or {})
        if op is aten._pin_memory.default:
            return _pinned(torch.empty_like(given[0]))
        if op is aten.is_pinned.default:
            return is_pinned(given[0])
        if named.pop("pin_memory", False):
            return _pinned(op(*given, **named))
        if op is aten.record_stream.default:
            return None
        if op is aten.equal.default:
            return False
        if op is aten._fused_sgd_.default:
            return _require_alike(*given[:3])
        try:
            return op(*given, **named)
        except DataDependentOutputException:
            return PLAIN.get(given[0].dtype, 0.0)
        except DynamicOutputShapeException:
            return _all_chosen(op, *given)


def _copied(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A copy; torch would copy the memory of constants, which is not there."""
    made = self.detach().clone()
    if isinstance(self, nn.Parameter):
        made = nn.Parameter(made, self.requires_grad)
    memo[id(self)] = made
    return made


def _applied(self: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    """A module moved; torch would swap tensors in place, which those without content refuse."""
    for module in self.modules() if recurse else (self,):
        for name, p in module._parameters.items():
            if p is not None and (moved := change(p.detach())).device != p.device:
                module._parameters[name] = nn.Parameter(moved, p.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else change(buffer)
    return self


def _require_alike(*lists: Sequence[Tensor]) -> None:
    """What a step of SGD refuses."""
    devices = {device_of(t) for tensors in lists for t in tensors}
    if len(devices) > 1:
        raise RuntimeError(f"expected all tensors to be on the same device, found {devices}")


def _pinned(tensor: Tensor) -> Tensor:
    if device_of(tensor).type != "cpu":
        raise RuntimeError(f"cannot pin a tensor on {tensor.device}, only dense CPU tensors can be")
    tensor.untyped_storage().pinned = True  # type: ignore[attr-defined]
    return tensor


def _all_chosen(op: Any, x: Tensor, *rest: Any) -> Tensor:
    """The result of a choice that chooses everything."""
    if op is aten.nonzero.default:
        return torch.zeros(x.numel(), x.ndim, dtype=torch.int64, device=x.device)
    if op is aten.index.Tensor and len(rest[0]) == 1:  # x[mask]
        kept = x.shape[rest[0][0].ndim :]
        return x.new_empty(rest[0][0].numel(), *kept)
    if op is aten.masked_select.default:
        return x.new_empty(x.numel())
    raise NotImplementedError(f"what does {op} choose?")


def _numpy(self: Tensor, *, force: bool = False) -> NDArray[Any]:
    """Made-up numbers of this shape; a GPU's tensor refuses, as it does."""
    if self.device.type != "cpu":
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy "
            "the tensor to host memory first."
        )
    if self.dtype.is_floating_point:
        made: NDArray[Any] = np.random.default_rng(0).standard_normal(tuple(self.shape))
    else:
        made = (np.arange(self.numel()) % 2).reshape(tuple(self.shape))
    return made.astype(str(self.dtype).removeprefix("torch."))
