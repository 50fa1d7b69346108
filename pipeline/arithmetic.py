"""How a GPU computes: what may take TF32 in float32's place, and the same bits every time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["WORKSPACE", "compute_deterministically", "tf32"]

WORKSPACE = ":4096:8"
"""Eight buffers of 4 MiB: with these cuBLAS gives the same bits on every stream."""


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether GPUs may take TF32 for convolutions and matrix products of float32 in the block.

    TF32 keeps 10 of the 23 bits of a factor's fraction, and float32's range; sums stay float32.
    The setting is the process's, and is put back in the end.
    """
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = allowed
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def compute_deterministically() -> None:
    """Has this process, from here on, compute the same bits from the same numbers.

    On one kind of device, that is, with one version of its libraries.  Called before a GPU is used.
    An operation for which torch knows no such way raises RuntimeError when it is called.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
