"""Where float32 is float32: autocast switched off, and what GPUs may round to TF32.

TF32 keeps 10 of the 23 bits of a factor's fraction, and float32's range; sums stay float32.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["forward_of_r1", "full_precision", "same_again", "splits_float32", "tf32"]

_exact_forward = _split = False


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """Autocast switched off on x's device."""
    device = "cpu" if x.device.type == "meta" else x.device.type  # knows none: a mark for plans
    return torch.autocast(device, enabled=False)


class tf32(AbstractContextManager[None]):  # noqa: N801 - a block, as torch names its own
    """Whether GPUs may take TF32 for convolutions and matrix products of float32 in the block.

    The setting is the process's, and is put back in the end.  It may be entered again and again.
    """

    def __init__(self, allowed: bool, *, exact_forward: bool = False, split: bool = False) -> None:
        """They may if `allowed`; if `exact_forward`, not in a block of `forward_of_r1`.

        `split`: convolutions that may not are computed as `splits_float32` says.
        """
        self._wanted = allowed, allowed, exact_forward, split
        self._before: list[tuple[bool, bool, bool, bool]] = []

    def __enter__(self) -> None:
        """Set it."""
        self._before.append(_state())
        _set(*self._wanted)

    def __exit__(self, *error: object) -> None:
        """Put it back."""
        _set(*self._before.pop())


def forward_of_r1() -> AbstractContextManager[None]:
    """The pass whose gradient R1 takes: in true float32, if `tf32` was told so.

    It decides on which side of its kink each leaky ReLU is, and a few decided otherwise make a
    gradient of another function.  Everything after it is linear in what is rounded.
    """
    return tf32(False, split=_split) if _exact_forward else nullcontext()


def splits_float32() -> bool:
    """Whether convolutions of float32 are to be computed in three of TF32 here (`ops.tf32x3`)."""
    return _split and not torch.backends.cudnn.allow_tf32


def same_again() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a pass now, and for the same pass when it is computed again for the backward pass."""
    return nullcontext(), tf32(torch.backends.cudnn.allow_tf32, split=_split)


def _state() -> tuple[bool, bool, bool, bool]:
    return (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        _exact_forward,
        _split,
    )


def _set(convolutions: bool, products: bool, exact_forward: bool, split: bool) -> None:
    global _exact_forward, _split
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products
    _exact_forward, _split = exact_forward, split
