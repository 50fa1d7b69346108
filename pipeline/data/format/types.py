"""The types of what data sets hold, for all of `pipeline.data`."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Ints", "Label"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Label = float | str | None
"""A number, a category, or None where nothing is known."""
