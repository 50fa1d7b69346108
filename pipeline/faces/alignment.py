"""A photo and its landmarks -> the crop that FFHQ would hold (Karras et al. 2019, appendix A).

The eyes and the mouth span an oriented square; what of it lies outside the photo is mirrored, and
blurred towards its border.

H height, W width, S side of the crop
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.pixels import Pixels
from pipeline.faces.landmarks import Points
from stylealae.errors import DataError

__all__ = ["Square", "align", "square_of"]

Array = NDArray[np.float64]
OVERSAMPLING = 4
"""The square is read at so many times the side asked for, then shrunk."""


@dataclass(frozen=True, eq=False)
class Square:
    """An oriented square in a photo."""

    middle: Array
    """[2]"""
    right: Array
    """[2]: from the middle to the middle of the right side; down is at right angles to it."""

    @property
    def side(self) -> float:
        """Its side, in pixels of the photo."""
        return 2 * float(np.hypot(*self.right))

    @property
    def corners(self) -> Array:
        """Top left, bottom left, bottom right, top right.  -> [4, 2]"""
        x, y = self.right, _turned(self.right)
        found: Array = self.middle + np.stack([-x - y, -x + y, x + y, x - y])
        return found

    def inside(self, points: Array, side: int) -> Array:
        """Where points of the photo lie in a crop of this side.  [n, 2] -> [n, 2]"""
        axes = np.stack([self.right, _turned(self.right)])  # [2, 2], rows
        found: Array = ((points - self.middle) @ axes.T / (axes[0] @ axes[0]) + 1) * side / 2
        return found


def square_of(points: Points) -> Square:
    """The square that FFHQ cuts out: from eyes and mouth, turned as the face is."""
    eyes = (points.eye_left + points.eye_right) / 2
    across = points.eye_right - points.eye_left
    down = (points.mouth_left + points.mouth_right) / 2 - eyes
    if min(np.hypot(*across), np.hypot(*down)) < 1:
        raise DataError("its eyes and mouth lie on one spot: these are no landmarks of a face")
    right = across - _turned(down)
    if np.hypot(*right) < 1:
        raise DataError("its mouth lies above its eyes: these landmarks are in another order")
    right = right / np.hypot(*right) * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    return Square(eyes + 0.1 * down, right)


def align(image: Pixels, points: Points, side: int) -> Pixels:
    """The crop.  [H, W, 3] -> [S, S, 3]

    Raises:
        DataError: the landmarks are not of this photo.
    """
    height, width = image.shape[:2]
    eyes = np.stack([points.eye_left, points.eye_right])
    if (eyes < 0).any() or (eyes >= (width, height)).any():
        raise DataError(
            f"its eyes are said to be at {eyes.round().tolist()}, outside its {width}x{height} "
            "pixels: the landmarks are of another photo, or of another size of it"
        )
    square = square_of(points)
    photo, corners, length = Image.fromarray(image), square.corners, square.side
    shrink = int(length / side / 2)
    if shrink > 1:
        small = (round(width / shrink), round(height / shrink))
        photo = photo.resize(small, Image.Resampling.LANCZOS)
        corners, length = corners / shrink, length / shrink

    border = max(round(0.1 * length), 3)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    first, last = np.maximum(low - border, 0), np.minimum(high + border, photo.size)
    photo, corners = photo.crop((*first, *last)), corners - first

    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    before = np.maximum(border - low, 0)  # left, top
    after = np.maximum(high - photo.size + border, 0)  # right, bottom
    if max(*before, *after) > border - 4:
        before, after = (np.maximum(part, round(0.3 * length)) for part in (before, after))
        photo = Image.fromarray(_mirrored(np.asarray(photo), before, after, 0.02 * length))
        corners = corners + before
    fine = OVERSAMPLING * side
    box = tuple((corners + 0.5).ravel())
    turned = photo.transform((fine, fine), Image.Transform.QUAD, box, Image.Resampling.BILINEAR)
    return np.asarray(turned.resize((side, side), Image.Resampling.LANCZOS))


def _mirrored(image: Pixels, before: Array, after: Array, blur: float) -> Pixels:
    """The photo with a border: mirrored, and the farther out, the more blurred, then one colour."""
    pads = [(int(before[1]), int(after[1])), (int(before[0]), int(after[0])), (0, 0)]
    found = np.pad(image.astype(np.float32), pads, mode="reflect")
    height, width = found.shape[:2]
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    reach = np.maximum([*before, *after], 1).astype(np.float32)
    out = np.maximum(  # 1 at the outer border, 0 at the photo's and negative inside it
        np.maximum(1 - x / reach[0], 1 - (width - 1 - x) / reach[2]),
        np.maximum(1 - y / reach[1], 1 - (height - 1 - y) / reach[3]),
    )[:, :, None]
    soft = cv2.GaussianBlur(found, (0, 0), blur, borderType=cv2.BORDER_REFLECT)
    found += (soft - found) * np.clip(3 * out + 1, 0, 1)
    found += (np.median(found, axis=(0, 1)) - found) * np.clip(out, 0, 1)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _turned(vector: Array) -> Array:
    """A quarter turn clockwise, as seen with y down: (1, 0) -> (0, 1)."""
    return np.array([-vector[1], vector[0]])
