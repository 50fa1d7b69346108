"""Codes of images, by a model of any family.  Legend: N images, C channels, R resolution."""

from typing import Protocol

from torch import Tensor

from pipeline.evaluation.context import EvaluationContext
from stylealae.api import StyleALAE

__all__ = ["INVERTED_IMG", "Encodes", "encoded"]

INVERTED_IMG = 5_000
"""Images whose z is found by an optimization each."""


class Encodes(Protocol):
    """A model that has codes of images."""

    def encode(self, x: Tensor) -> Tensor:
        """The codes of images.  [N, C, R, R] -> [N, W]"""


def encoded(context: EvaluationContext[Encodes], x: Tensor) -> Tensor:
    """E(x), of networks that grow at the context's alpha.  [N, C, R, R] -> [N, W]"""
    model = context.model
    return model.encode(x, alpha=context.alpha) if isinstance(model, StyleALAE) else model.encode(x)
