"""A data set of images that nobody has drawn, as metrics look at one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config.sections import DataConfig
from stylealae.config import ShapeConfig

__all__ = ["IMAGES", "Pictures"]

IMAGES, CLASSES = 48, 10


class Pictures:
    """Some images in every split, of ten classes."""

    label = "class"

    def __init__(self, model: ShapeConfig, resolution: int = 0) -> None:
        self.resolution, self._channels = resolution or model.resolution, model.channels
        self.cfg = DataConfig(label=self.label)
        self.manifest = SimpleNamespace(
            source="folder", digest="", downscale="", labels=(self.label,)
        )

    def count(self, split: str) -> int:
        """Images of a split."""
        return IMAGES

    def first(self, n: int) -> Tensor:
        """The first images.  -> uint8 [n, C, R, R]"""
        return self.take("test", range(n))

    def take(self, split: str, ids: Any) -> Tensor:
        """Images by their numbers.  -> uint8 [N, C, R, R]"""
        shape = len(ids), self._channels, self.resolution, self.resolution
        return torch.zeros(shape, dtype=torch.uint8)

    def broken(self, split: str) -> int:
        """Damaged images: none."""
        return 0

    def labels(self, split: str, name: str, ids: Any) -> Any:
        """Their classes.  -> [N]"""
        return np.arange(len(ids), dtype=np.float32) % CLASSES
