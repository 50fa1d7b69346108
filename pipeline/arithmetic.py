"""How a GPU computes: what may take TF32 in float32's place, and the same bits every time."""

import os
from contextlib import AbstractContextManager

import torch

from stylealae.ops.precision import tf32
from stylealae.phases import AnyPhase

__all__ = ["WORKSPACE", "compute_deterministically", "may_take_tf32", "tf32_of"]

WORKSPACE = ":4096:8"
"""Eight buffers of 4 MiB: with these cuBLAS gives the same bits on every stream."""


def may_take_tf32(where: str, phase: AnyPhase) -> bool:
    """Whether `engine.tf32` lets a phase take TF32, somewhere at least."""
    return where != "off" and not (where == "outside_r1" and phase.double_backward)


def tf32_of(where: str, phase: AnyPhase) -> AbstractContextManager[None]:
    """Lets a phase take TF32 in the block where `engine.tf32` says so."""
    return tf32(may_take_tf32(where, phase), exact_forward=where == "derivatives")


def compute_deterministically() -> None:
    """Has this process, from here on, compute the same bits from the same numbers.

    On one kind of device, that is, with one version of its libraries.  Called before a GPU is used.
    An operation for which torch knows no such way raises RuntimeError when it is called.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
