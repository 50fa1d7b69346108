"""How a device computes: half precision where it has it, TF32 where it may, the same bits."""

import logging
import os
from contextlib import AbstractContextManager

import torch

from stylealae.errors import ConfigError
from stylealae.ops.precision import tf32
from stylealae.phases import AnyPhase

__all__ = [
    "EXACT_FORWARD",
    "WORKSPACE",
    "compute_deterministically",
    "half_of",
    "may_take_tf32",
    "tf32_of",
]

log = logging.getLogger(__name__)
EXACT_FORWARD = ("derivatives", "3xtf32")
"""Values of `engine.tf32` by which the pass that R1 is taken of keeps float32's error."""
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

WORKSPACE = ":4096:8"
"""Eight buffers of 4 MiB: with these cuBLAS gives the same bits on every stream."""


def half_of(precision: str, device: torch.device) -> torch.dtype | None:
    """What `engine.precision` has the forward pass computed in; None is float32.

    A CPU whose vector instructions know no bf16 multiplies it number by number, six to thirteen
    times slower than float32: there bf16 is float32, which rounds less.

    Raises:
        ConfigError: a GPU has no instructions for bf16 (NVIDIA's before Ampere).
    """
    if precision == "bf16" and device.type == "cuda" and not _gpu_multiplies_bf16():
        raise ConfigError(
            "engine.precision is bf16, for which this GPU has no instructions: set "
            "engine.precision=fp16, or fp32"
        )
    if precision == "bf16" and device.type == "cpu" and not multiplies_bf16():
        log.warning(
            "engine.precision=bf16 is computed in float32: this processor has no instructions for "
            "bf16, and would take several times as long"
        )
        return None
    return HALF.get(precision)


def multiplies_bf16() -> bool:
    """Whether oneDNN multiplies bf16 on this CPU in vector instructions."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _gpu_multiplies_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def may_take_tf32(where: str, phase: AnyPhase) -> bool:
    """Whether `engine.tf32` lets a phase take TF32, somewhere at least."""
    return where != "off" and not (where == "outside_r1" and phase.double_backward)


def tf32_of(where: str, phase: AnyPhase) -> AbstractContextManager[None]:
    """Lets a phase take TF32 in the block where `engine.tf32` says so."""
    exact = where in EXACT_FORWARD
    return tf32(may_take_tf32(where, phase), exact_forward=exact, split=where == "3xtf32")


def compute_deterministically() -> None:
    """Has this process, from here on, compute the same bits from the same numbers.

    On one kind of device, that is, with one version of its libraries.  Called before a GPU is used.
    An operation for which torch knows no such way raises RuntimeError when it is called.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
