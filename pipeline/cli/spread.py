"""Some of many images that pass by once: as many as are wanted, spread over them all."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Spread"]


class Spread:
    """Every image, or every second, fourth and so on of more than `most`: at least half of that."""

    def __init__(self, most: int) -> None:
        """None has passed yet."""
        self._most, self._step, self._passed = most, 1, 0
        self.images: list[Tensor] = []

    def pass_by(self, x: "Tensor") -> None:
        """Keeps copies of those of the next images that are wanted.  [n, ...]"""
        wanted = x[-self._passed % self._step :: self._step]
        self.images += [image.clone() for image in wanted]
        self._passed += len(x)
        while len(self.images) > self._most:
            self.images, self._step = self.images[::2], 2 * self._step
