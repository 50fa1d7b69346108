"""A systematic sample of images that come once, in batches, and are not counted before."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SystematicSample"]


class SystematicSample:
    """Every image, or every second, fourth and so on of more than `most`: at least half of that."""

    def __init__(self, most: int) -> None:
        """None has come yet."""
        self._most, self._step, self._seen = most, 1, 0
        self.images: list[Tensor] = []

    def add(self, x: "Tensor") -> None:
        """Keeps copies of those of the next images that are wanted.  [n, ...]"""
        wanted = x[-self._seen % self._step :: self._step]
        self.images += [image.clone() for image in wanted]
        self._seen += len(x)
        while len(self.images) > self._most:
            self.images, self._step = self.images[::2], 2 * self._step
