"""p(z), and the addressed randomness that every draw in training comes from."""

from hashlib import sha256

import torch
from torch import Tensor

__all__ = ["normal", "rng"]


def rng(seed: int, purpose: str, seen: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator for one purpose at one moment of the run: addressed, not consumed."""
    digest = sha256(f"{seed}/{purpose}/{seen}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


def normal(n: int, width: int, generator: torch.Generator) -> Tensor:
    """Samples of the standard normal prior.  -> [n, width]"""
    return torch.randn(n, width, generator=generator)
