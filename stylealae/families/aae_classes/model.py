"""The AAE with classes, trained.

Legend: N batch, C channels, R resolution, K classes.
"""

from typing import TypeVar

import torch
from torch import Tensor

from stylealae.families.aae_classes.config import ClassCriticModelConfig
from stylealae.families.aae_classes.networks import ClassAae
from stylealae.families.common.model import CodeModel

__all__ = ["ClassModel"]

A = TypeVar("A", bound=ClassAae)


class ClassModel(CodeModel[A, ClassCriticModelConfig]):
    """An autoencoder whose E sorts images into classes."""

    @property
    def classes(self) -> int:
        """How many."""
        return self.model.classes

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """The probability of every class.  [N, C, R, R] -> [N, K]"""
        y: Tensor = self.nets.E(self.nets.rows(x.to(self.device))).y.softmax(1)
        return y
