"""Counts what a GPU is asked for: kernels, bytes, arithmetic, and what makes the host wait.

A kernel is counted for every operation that computes, more for those that launch one for each
result or for every so many numbers: a lower bound, as cuDNN may change a layout on the way.  Bytes
are those of every tensor that an operation reads or writes, as if no cache held them.
"""

import math
import sys
import weakref
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tests.fakegpu.contents import device_of, is_pinned
from tests.fakegpu.cuda import watched

__all__ = ["Count", "Counter"]

ROOT, PACKAGES = Path(__file__).resolve().parents[2], ("stylealae", "pipeline")
aten = torch.ops.aten
NO_KERNEL = {
    aten.empty.memory_format, aten.empty_strided.default, aten.empty_like.default,
    aten.new_empty.default, aten.new_empty_strided.default, aten.lift_fresh.default,
    aten._local_scalar_dense.default, aten.is_pinned.default, aten.resize_.default,
    aten.set_.source_Storage, aten.record_stream.default,
}  # fmt: skip
WRITTEN_ONLY = {
    aten.copy_.default, aten.fill_.Scalar, aten.fill_.Tensor, aten.zero_.default,
    aten.normal_.default, aten.uniform_.default, aten.random_.default,
}  # fmt: skip
UNREPEATABLE = {
    aten.adaptive_max_pool2d_backward.default, aten._adaptive_avg_pool2d_backward.default,
    aten.upsample_linear1d_backward.default, aten.upsample_bilinear2d_backward.default,
    aten.upsample_bicubic2d_backward.default, aten.upsample_trilinear3d_backward.default,
    aten._upsample_bilinear2d_aa_backward.default, aten._upsample_bicubic2d_aa_backward.default,
    aten.reflection_pad1d_backward.default, aten.reflection_pad2d_backward.default,
    aten.nll_loss2d_forward.default, aten._ctc_loss_backward.default, aten.put_.default,
    aten.histc.default, aten.bincount.default, aten.median.dim, aten.kthvalue.default,
    aten.grid_sampler_2d_backward.default, aten.cumsum.default, aten.scatter_reduce.two,
}  # fmt: skip
"""What torch.use_deterministic_algorithms refuses on GPUs, of its list what could occur here."""
CONVOLUTIONS = {aten.convolution, aten.convolution_backward}
CHUNK, CHUNKS, TENSORS = 1 << 16, 320, 48
"""Of the kernels that work through lists of tensors: numbers at a time; and at most so many of
those, and so many tensors, a launch."""


@dataclass
class Count:
    """What was counted."""

    kernels: int = 0
    """Launches."""
    moved: int = 0
    """Bytes that they read and write."""
    flop: Tally[str] = field(default_factory=Tally)
    """Arithmetic of convolutions and matrix products, by what it is done in: tf32, fp32, bf16."""
    waits: Tally[str] = field(default_factory=Tally)
    """What made the host wait for the GPU, by name and place."""
    unrepeatable: Tally[str] = field(default_factory=Tally)
    """What `engine.deterministic` would stop at, by name and place."""
    operations: Tally[str] = field(default_factory=Tally)
    """Launches by operation."""
    peak: int = 0
    """The most bytes that tensors on GPUs took at a time since the counting began."""

    @property
    def waited(self) -> int:
        """How often the host waited."""
        return self.waits.total()


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts inside its block; `count` is what it found."""

    at_work: "Counter | None" = None
    """The one that counts now."""

    def __init__(self, *, memory: bool = False) -> None:
        """Count; with `memory` the bytes that tensors take as well, which costs more."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = Count()
        self._watch = watched(self._wait)
        self._live = Live() if memory else None
        self._muted = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> "Counter":
        """The counter."""
        self._watch.__enter__()
        Counter.at_work = self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop counting."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        Counter.at_work = None
        self._watch.__exit__(*error)

    def __torch_dispatch__(
        self, op: Any, types: Any, given: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts it."""
        named = named or {}
        if op is torch.ops.prim.device.default:
            return device_of(given[0])
        out = op(*given, **named)
        if self._muted or op.is_view:
            return out
        read, written = list(_tensors((given, named))), list(_tensors(out))
        if not any(device_of(t).type == "cuda" for t in (*read, *written)):
            return out
        self._note_copy(op, given, named, out)
        if op not in NO_KERNEL:
            self._note_kernel(op, given, named, out, read, written)
        if self._live is not None:
            self._live.hold(written)
            self.count.peak = max(self.count.peak, self._live.bytes)
        return out

    @contextmanager
    def replaced(
        self, name: str, kernels: int, width: float, *, features: Sequence[int]
    ) -> Iterator[None]:
        """Counts these kernels, and `width` bytes a number, for what is computed inside."""
        self.count.kernels += kernels
        self.count.operations[f"fused {name}"] += kernels
        self.count.moved += int(width * math.prod(features))
        self._muted = True
        try:
            yield
        finally:
            self._muted = False

    def _note_kernel(
        self, op: Any, given: Any, named: Any, out: Any, read: list[Tensor], written: list[Tensor]
    ) -> None:
        launches = _launches(op, given, read)
        self.count.kernels += launches
        self.count.operations[str(op)] += launches
        if op in UNREPEATABLE:
            self.count.unrepeatable[f"{op} at {_place()}"] += 1
        if op in WRITTEN_ONLY:
            read = read[1:]
        both = [*{id(t): t for t in read}.values(), *written]
        self.count.moved += sum(_bytes(t) for t in both if device_of(t).type == "cuda")
        formula = flop_registry.get(op._overloadpacket)
        if formula is not None:
            unit = _unit(op, next(t for t in read if t.is_floating_point()))
            self.count.flop[unit] += int(formula(*given, **named, out_val=out))

    def _note_copy(self, op: Any, given: Any, named: Any, out: Any) -> None:
        """Notes an operation that the host waits for."""
        if op is aten._local_scalar_dense.default or op is aten.equal.default:
            self._wait(f"{op} from {given[0].device}")
        elif op is aten.nonzero.default or op is aten.masked_select.default:
            self._wait(str(op))
        elif op is aten.index.Tensor and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in given[1]
        ):
            self._wait(f"{op} with a mask")
        elif op is aten._to_copy.default or op is aten.copy_.default:
            source, there = (given[0], out) if op is aten._to_copy.default else (given[1], given[0])
            if source.device.type == there.device.type or not source.numel():
                return
            host = source if source.device.type == "cpu" else there
            beside = named.get("non_blocking", given[2] if len(given) > 2 else False)
            fresh = op is aten._to_copy.default and host is there  # torch pins what it makes itself
            if not (beside and (fresh or is_pinned(host))):
                why = "not pinned" if beside else "blocking"
                self._wait(f"copy {source.device} -> {there.device} ({why})")

    def _wait(self, what: str) -> None:
        self.count.waits[f"{what} at {_place()}"] += 1


class Live:
    """The bytes of the storages that are alive on GPUs."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: dict[int, int] = {}

    def hold(self, tensors: Sequence[Tensor]) -> None:
        """Counts these in, until they are gone."""
        for t in tensors:
            storage = t.untyped_storage()
            key = storage._cdata
            if device_of(t).type == "cuda" and key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.bytes += storage.nbytes()
                weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)


def _launches(op: Any, given: Any, read: Sequence[Tensor]) -> int:
    """The kernels of an operation."""
    if op is aten.convolution_backward.default:
        return sum(given[-1])
    name = op._schema.name
    if "_foreach_" in name or "_fused_" in name:
        lists = [part for part in given if isinstance(part, list) and part]
        longest = lists[0] if lists else []
        chunks = sum(math.ceil(t.numel() / CHUNK) for t in longest)
        return max(math.ceil(chunks / CHUNKS), math.ceil(len(longest) / TENSORS))
    return 1


def _unit(op: Any, x: Tensor) -> str:
    """What the arithmetic of a convolution or a matrix product of x is done in."""
    if x.dtype == torch.float32:
        convolution = op._overloadpacket in CONVOLUTIONS
        backend = torch.backends.cudnn if convolution else torch.backends.cuda.matmul
        return "tf32" if backend.allow_tf32 else "fp32"
    return {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}[x.dtype]


def _tensors(held: Any) -> Iterator[Tensor]:
    """All tensors in arguments or results."""
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, Mapping):
        yield from _tensors(list(held.values()))
    elif isinstance(held, (tuple, list)):
        for part in held:
            yield from _tensors(part)


def _place() -> str:
    """The line of the two packages that is being run."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
    return "a backward pass"


def _bytes(t: Tensor) -> int:
    """Of a tensor's content, what is expanded taken once."""
    numbers = math.prod(n for n, step in zip(t.shape, t.stride(), strict=True) if step)
    return numbers * t.element_size()
