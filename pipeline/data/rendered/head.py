"""A head turned in space and the light on it: the solid that features are painted on.

Legend: R resolution; h, w a region of the picture. The picture spans [-SPAN, SPAN] with y upwards.
x, y are picture coordinates with the head's tilt undone and the origin between the eyes; X, Y are
coordinates on the skin, as seen from the front. What is drawn in X, Y turns with the head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.rendered.parameters import RGB, FaceParameters

Array = NDArray[Any]
"""float32 throughout; numpy's stubs lose the width in arithmetic with plain numbers."""
Region = tuple[slice, slice]

SPAN = 0.86
"""Half the width of the picture; the usual head is 0.93 wide and 1.17 high."""
EYE_LEVEL = 0.08
"""Height of the eyes in the picture: 45 % from the top."""
DEPTH = 1.05
"""Depth of the head relative to its width."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The visible half of the head over a region of the picture; painting changes its arrays."""

    p: FaceParameters
    px: float
    """Size of a pixel in picture units."""
    region: Region
    """Rows and columns of the picture that the arrays cover."""
    x: Array  # [h, w]
    y: Array  # [h, w]
    X: Array  # [h, w]
    Y: Array  # [h, w]
    mask: Array  # [h, w], 1 on the head
    normal: Array  # [3, h, w], towards right, up, viewer
    albedo: Array  # [3, h, w]
    shade: Array  # [h, w], light that reaches the skin, 1 in the open
    relief: Array  # [h, w], height above the smooth skin

    def around(self, X: float, Y: float, rx: float, ry: float) -> Region:
        """The part of the region within (rx, ry) of a point of the skin."""
        return self.near(*project(self.p, X, Y), rx, ry)

    def near(self, sx: float, sy: float, rx: float, ry: float) -> Region:
        """The part of the region within (rx, ry) of a point of the picture."""
        top = (SPAN - sy - ry) / self.px - self.region[0].start
        left = (SPAN + sx - rx) / self.px - self.region[1].start
        return (
            slice(max(int(top), 0), max(int(top + 2 * ry / self.px) + 2, 0)),
            slice(max(int(left), 0), max(int(left + 2 * rx / self.px) + 2, 0)),
        )

    def paint(self, at: Region, mask: Array, colour: RGB | Array) -> None:
        """Lay a colour over the skin where the mask is 1."""
        under = self.albedo[:, at[0], at[1]]
        over = np.asarray(colour, np.float32)
        under += mask * ((over[:, None, None] if over.ndim == 1 else over) - under)


def cover(distance: Array, px: float) -> Array:
    """1 inside, 0 outside, a ramp of one pixel at the edge; `distance` is positive inside."""
    inside: Array = np.minimum(np.maximum(distance * (1 / px) + 0.5, 0), 1)
    return inside


def soft(t: Array) -> Array:
    """A smooth step from 0 at t <= 0 to 1 at t >= 1."""
    t = np.minimum(np.maximum(t, 0), 1)
    step: Array = t * t * (3 - 2 * t)
    return step


def bump(u: Array, v: Array) -> Array:
    """A bell of height and radius 1 that ends at twice its radius, so that no region cuts it."""
    bell: Array = np.maximum(1 - 0.25 * (u * u + v * v), 0)
    bell = bell * bell
    return bell * bell


@lru_cache(maxsize=16)
def grid(resolution: int) -> tuple[Array, Array]:
    """[1, R] and [R, 1]: the centres of the pixels, x to the right and y upwards."""
    x = ((np.arange(resolution, dtype=np.float32) + 0.5) * (2 / resolution) - 1)[None] * SPAN
    return x, -x.T


def angles(p: FaceParameters) -> tuple[float, float, float, float, float]:
    """Cosine and sine of the yaw, sine of the pitch, cosine and sine of the roll."""
    yaw, pitch, roll = (
        math.radians(35) * p.yaw,
        math.radians(20) * p.pitch,
        math.radians(14) * p.roll,
    )
    return math.cos(yaw), math.sin(yaw), math.sin(pitch), math.cos(roll), math.sin(roll)


def profile(p: FaceParameters, y: Array) -> Array:
    """Half the width of the head at height y, from the front; negative beyond crown and chin."""
    crown, chin, n = 0.61, 0.52 + 0.09 * p.chin + 0.03 * p.mouth_open, 1.85 + 1.05 * p.jaw
    chin *= 1 - 0.35 * angles(p)[2]  # the chin of a raised face is foreshortened
    up, down = np.clip(y / crown, 0, 1), np.clip(-y / chin, 0, 1)
    skull = (1 - up**2.2) ** (1 / 2.2) * (1 - down**n) ** (1 / n)
    skull *= 1 - (0.32 - 0.28 * p.jaw) * down**2
    beyond = np.maximum(y - crown, 0) + np.maximum(-y - chin, 0)
    return np.asarray(half_width(p) * skull - 6 * beyond, np.float32)


def half_width(p: FaceParameters) -> float:
    """Half the width of the head at the height of the eyes."""
    return 0.385 + 0.1 * p.face_width


def project(p: FaceParameters, X: float, Y: float) -> tuple[float, float]:
    """Where in the picture a point of the skin lies."""
    c, s, sp, cr, sr = angles(p)
    width = half_width(p) * math.sqrt(max(1 - (Y / 0.66) ** 2, 0))
    Z = DEPTH * math.sqrt(max(width**2 - X**2, 0))
    x, y = c * X + s * (Z + 0.16 * min(Y, 0) ** 2) + shift(p), Y + sp * (Z - 0.3)
    return cr * x + sr * y, cr * y - sr * x + EYE_LEVEL


def shift(p: FaceParameters) -> float:
    """Half of the turn is taken back, as the photographer centres the face, not the skull."""
    return -0.3 * angles(p)[1]


def head(p: FaceParameters, resolution: int, skin: RGB) -> Head:
    """The bare head in its pose."""
    c, s, sp, cr, sr = angles(p)
    px = 2 * SPAN / resolution
    edge = round(resolution * 0.11), round(resolution * 0.89)
    region = slice(round(resolution * 0.06), round(resolution * 0.92)), slice(*edge)
    gx, gy = grid(resolution)
    gx, gy = gx[:, region[1]], gy[region[0]] - EYE_LEVEL
    x, y = cr * gx - sr * gy, sr * gx + cr * gy  # [h, w]
    knots = np.linspace(-1, 1, 769, dtype=np.float32)
    widths = profile(p, knots)
    slopes = np.gradient(widths, knots).astype(np.float32)
    place = (y + 1) * 384
    low = np.clip(place.astype(np.int32), 0, 767)
    width = widths[low] + (place - low) * (widths[low + 1] - widths[low])
    slope = slopes[low] + (place - low) * (slopes[low + 1] - slopes[low])
    kappa = math.sqrt(c * c + (DEPTH * s) ** 2)
    forward = 0.16 * np.minimum(y, 0) ** 2  # the chin lies before the axis of the turn
    across = (x - shift(p) - s * forward) / kappa
    mask = cover((width - np.abs(across)) * kappa / np.sqrt(1 + slope * slope), px)
    near = np.sqrt(np.maximum(width * width - across * across, 1e-6))
    X = (c * across - DEPTH * s * near) / kappa
    Z = (DEPTH * s * across + c * near) / kappa
    normal = np.stack((c * X + s * Z / DEPTH, -width * slope, c * Z / DEPTH - s * X))
    normal[1] = np.clip(normal[1], -0.35, 0.35) - sp * 0.1
    Y = y - sp * (DEPTH * Z - 0.3)
    albedo = np.empty((3, *x.shape), np.float32)
    albedo[:] = np.asarray(skin, np.float32)[:, None, None]
    shade, relief = np.ones_like(x), np.zeros_like(x)
    return Head(
        p=p, px=px, region=region, x=x, y=y, X=X, Y=Y,
        mask=mask, normal=normal, albedo=albedo, shade=shade, relief=relief,
    )  # fmt: skip


def lay(canvas: Array, at: Region, mask: Array, colour: Array) -> None:
    """Cover a region of the canvas by a colour, where the mask is 1."""
    under = canvas[:, at[0], at[1]]
    under += mask * (colour - under)


def column(colour: RGB) -> Array:
    """-> [3, 1, 1]"""
    return np.array(colour, np.float32)[:, None, None]


def lit(p: FaceParameters, nx: Array, ny: Array, nz: Array, flesh: float = 1) -> Array:
    """[h, w] each -> [3, h, w]: light a surface reflects; flesh lets red bleed into the shade."""
    lx, ly, lz = 0.95 * p.light_x, 0.22 + 0.5 * p.light_y, 0.85
    size = math.sqrt(lx * lx + ly * ly + lz * lz)
    lambert = (lx / size) * nx + (ly / size) * ny + (lz / size) * nz
    ambient = 0.66 - 0.36 * p.light_contrast
    tint = np.array((1.06, 1.0, 0.94), np.float32) ** np.float32(2.2 * p.light_warmth)
    key = (1.13 - ambient) * tint[:, None, None]
    low = ambient * np.array((1 + 0.05 * flesh, 1, 1 - 0.02 * flesh), np.float32)[:, None, None]
    wrap = np.array((0.34, 0.22, 0.16), np.float32)[:, None, None] * flesh + 0.1
    diffuse = np.clip((lambert + wrap) / (1 + wrap), 0, 1)  # [3, h, w]
    light: Array = low + key * diffuse
    return light
