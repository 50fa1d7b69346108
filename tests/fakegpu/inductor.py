"""Kernels and bytes of formulas, counted in the code that Inductor writes for Triton.

Without a GPU.  Only `--record` needs it, and with it a Triton that can be imported: a folder that
`pip install --target` has filled with the `triton` of this torch, on PYTHONPATH.  Its driver and
compiler are not used.  The batch is fixed here; where it is any, Inductor may fuse otherwise.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from stylealae.ops.compiler import OPTIONS
from tests.fakegpu.fusion import Call, Cost

__all__ = ["costs"]

LAUNCH = re.compile(r"triton_\w+\.run\(")
HOPPER = SimpleNamespace(
    name="H100", major=9, minor=0, total_memory=80 << 30, multi_processor_count=132,
    max_threads_per_multi_processor=2048, max_threads_per_block=1024, warp_size=32,
    regs_per_multiprocessor=65536, shared_memory_per_block_optin=232448, L2_cache_size=50 << 20,
    gcnArchName="",
)  # fmt: skip


def costs(calls: Sequence[Call]) -> dict[tuple[str, int], Cost]:
    """The cost of each call, by its kind and side."""
    with _code_alone() as written:
        return {(call.kind, call.features[0][-1]): _cost(call, written) for call in calls}


def _cost(call: Call, written: list[tuple[str, int]]) -> Cost:
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    with FakeTensorMode(), torch.no_grad():
        given = [None if t is None else torch.empty(t[0], dtype=t[1], device="cuda")
                 for t in call.given]  # fmt: skip
        places = [i for i, t in enumerate(given) if t is not None]

        def formula(*tensors: torch.Tensor) -> list[torch.Tensor]:
            args: list[Any] = [None] * len(given)
            for i, tensor in zip(places, tensors, strict=True):
                args[i] = tensor
            out = call.formula(*args, *call.constants)
            return [t for t in (out if isinstance(out, tuple) else (out,)) if t is not None]

        tensors = [given[i] for i in places]
        graph = make_fx(formula)(*tensors)
        written.clear()
        plain = {"fx_graph_cache": False, "joint_graph_constant_folding": False}
        with config.patch(**OPTIONS, **plain):
            compile_fx(graph, tensors)
    code, moved = written[-1]
    shape, _ = call.features
    numbers = shape[0] * shape[1] * shape[2] * shape[3]
    body = code[code.index("def call(") :]
    return len(LAUNCH.findall(body)), round(moved / numbers, 2)


@contextmanager
def _code_alone() -> Iterator[list[tuple[str, int]]]:
    """Inside, Inductor writes its code, with the bytes it moves, and compiles none of it."""
    import torch._dynamo.device_interface as interface
    import torch.utils._triton
    from torch._inductor.async_compile import AsyncCompile
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V

    written: list[tuple[str, int]] = []

    def note(code: str) -> None:
        written.append((code, V.graph.count_bytes()[0]))

    stand_ins: list[tuple[Any, str, Any]] = [
        (GraphLowering, "save_output_code", staticmethod(note)),
        (AsyncCompile, "triton", lambda *_, **__: None),
        (AsyncCompile, "wait", lambda *_: None),
        (torch.utils._triton, "triton_hash_with_backend", lambda: ""),
        (interface.CudaInterface, "get_device_properties", staticmethod(lambda *_: HOPPER)),
        (interface.CudaInterface, "get_compute_capability", staticmethod(lambda *_: 90)),
        (interface.CudaInterface.Worker, "get_device_properties", staticmethod(lambda *_: HOPPER)),
        (torch.cuda, "get_device_properties", lambda *_: HOPPER),
        (torch.cuda, "_exchange_device", lambda _: 0),
        (torch.cuda, "_maybe_exchange_device", lambda _: 0),
        (torch.cuda, "get_rng_state", lambda *_: torch.empty(16, dtype=torch.uint8, device="cpu")),
        (torch.cuda, "set_rng_state", lambda *_: None),
    ]
    with ExitStack() as stack:
        for owner, name, stand_in in stand_ins:
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        for name in ("_cuda_getDevice", "_cuda_getCurrentRawStream"):
            stack.enter_context(mock.patch.object(torch._C, name, create=True, return_value=0))
        yield written
