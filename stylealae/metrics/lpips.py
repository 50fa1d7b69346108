"""Perceptual distance: how different two images look (LPIPS, Zhang et al. 2018).

Legend: N batch, C channels, R resolution.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from stylealae.errors import ConfigError
from stylealae.metrics.features import KNOWN, extractors, lpips_size

__all__ = ["distance", "of_file"]


def distance(a: Tensor, b: Tensor, perceptual: Callable[[Tensor], Tensor]) -> Tensor:
    """Squared distance in an extractor's perceptual space.  [N, C, R, R] in [-1, 1] twice -> [N]"""
    difference = perceptual(lpips_size(a)) - perceptual(lpips_size(b))
    return difference.double().square().sum(1)


def of_file(
    file: str | Path | None, device: torch.device
) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    """LPIPS of NVIDIA's vgg16.pt, or its like of the built-in extractor if no file is named.

    Its name, `lpips` or `lpips-random`, and the distance, of which a gradient can be taken.

    Raises:
        ConfigError: the file is another one.
    """
    found = extractors([file] if file else [], device)
    name, role = ("lpips", "vgg16") if file else ("lpips-random", "random")
    see = found[role].perceptual if role in found else None
    if see is None:
        known = KNOWN["vgg16"]
        raise ConfigError(
            f"{file} is not the network that LPIPS is defined by: wanted is {known.file} from "
            f"{known.url}, sha256 {known.sha256}"
        )
    return name, partial(distance, perceptual=see)
