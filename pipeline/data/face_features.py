"""A head turned in space, and what is painted on its skin: eyes, brows, nose, mouth, beard, folds.

Legend: R resolution; h, w a window of the picture. The picture spans [-1, 1] with y upwards.
x, y are picture coordinates with the head's tilt undone and the origin between the eyes; X, Y are
coordinates on the skin, as seen from the front. A feature is drawn in X, Y and so turns with the head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.data.face_parameters import IRIS, RGB, FaceParameters, along, hair_colour, mix

Array = NDArray[np.float32]
Window = tuple[slice, slice]

EYE_LEVEL = 0.10
"""Height of the eyes in the picture: 45 % from the top."""
DEPTH = 1.05
"""Depth of the head relative to its width."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The visible half of the head over a window of the picture; painting changes its arrays."""

    p: FaceParameters
    px: float
    """Size of a pixel in picture units."""
    window: Window
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

    def around(self, X: float, Y: float, rx: float, ry: float) -> Window:
        """The part of the window within (rx, ry) of a point of the skin."""
        px, (rows, cols) = self.px, self.window
        sx, sy = project(self.p, X, Y)
        top, left = (1 - sy - ry) / px - rows.start, (1 + sx - rx) / px - cols.start
        return (
            slice(max(int(top) - 1, 0), max(int(top + 2 * ry / px) + 3, 0)),
            slice(max(int(left) - 1, 0), max(int(left + 2 * rx / px) + 3, 0)),
        )

    def paint(self, at: Window, mask: Array, colour: RGB | Array) -> None:
        """Lay a colour over the skin where the mask is 1."""
        under = self.albedo[:, at[0], at[1]]
        over = np.asarray(colour, np.float32)
        under += mask * ((over[:, None, None] if over.ndim == 1 else over) - under)


def cover(distance: Array, px: float) -> Array:
    """1 inside, 0 outside, a ramp of one pixel at the edge; `distance` is positive inside."""
    return np.clip(distance * (1 / px) + 0.5, 0, 1)


def soft(t: Array) -> Array:
    """A smooth step from 0 at t <= 0 to 1 at t >= 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def bump(u: Array, v: Array) -> Array:
    """A bell of height and radius 1."""
    return np.exp(-(u * u + v * v))


@lru_cache(maxsize=16)
def grid(resolution: int) -> tuple[Array, Array]:
    """[1, R] and [R, 1]: the centres of the pixels, x to the right and y upwards."""
    x = ((np.arange(resolution, dtype=np.float32) + 0.5) * (2 / resolution) - 1)[None]
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
    """Half the width of the head at height y, seen from the front; negative beyond crown and chin."""
    crown, chin, n = 0.66, 0.53 + 0.09 * p.chin + 0.03 * p.mouth_open, 1.95 + 0.75 * p.jaw
    chin *= 1 - 0.35 * angles(p)[2]  # the chin of a raised face is foreshortened
    up, down = np.clip(y / crown, 0, 1), np.clip(-y / chin, 0, 1)
    skull = (
        (1 - up**2.2) ** (1 / 2.2) * (1 - (0.2 - 0.14 * p.jaw) * down**2) * (1 - down**n) ** (1 / n)
    )
    beyond = np.maximum(y - crown, 0) + np.maximum(-y - chin, 0)
    return np.asarray((0.43 + 0.07 * p.face_width) * skull - 6 * beyond, np.float32)


def project(p: FaceParameters, X: float, Y: float, out: float = 0) -> tuple[float, float]:
    """Where in the picture a point `out` above the skin lies."""
    c, s, sp, cr, sr = angles(p)
    width = 0.43 + 0.07 * p.face_width
    Z = DEPTH * math.sqrt(max(width**2 - X**2, 0)) + out
    x, y = c * X + s * Z + shift(p), Y + sp * (Z - 0.3)
    return cr * x + sr * y, cr * y - sr * x + EYE_LEVEL


def shift(p: FaceParameters) -> float:
    """Half of the turn is taken back, as the photographer centres the face, not the skull."""
    return -0.3 * angles(p)[1]


def head(p: FaceParameters, resolution: int, skin: RGB) -> Head:
    """The bare head in its pose."""
    c, s, sp, cr, sr = angles(p)
    px = 2 / resolution
    edge = round(resolution * 0.17), round(resolution * 0.85)
    window = slice(round(resolution * 0.06), round(resolution * 0.86)), slice(*edge)
    gx, gy = grid(resolution)
    gx, gy = gx[:, window[1]], gy[window[0]] - EYE_LEVEL
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
        p=p, px=px, window=window, x=x, y=y, X=X, Y=Y,
        mask=mask, normal=normal, albedo=albedo, shade=shade, relief=relief,
    )  # fmt: skip


def paint_flesh(h: Head) -> None:
    """Cheeks, brow ridge, chin, folds of age: the large forms and the blood under the skin."""
    p = h.p
    joy = max(p.smile, 0)
    for side in (-1, 1):
        at = h.around(side * 0.24, -0.15, 0.22, 0.2)
        u, v = h.X[at] - side * 0.25, h.Y[at] + 0.17 - 0.03 * joy
        h.relief[at] += (0.02 + 0.02 * joy) * bump(u / 0.13, v / 0.11)
        h.paint(at, 0.42 * p.blush * bump(u / 0.12, v / 0.1), (0.80, 0.24, 0.24))
        fold = (
            np.abs(u * side + 0.10 - 0.25 * v * (v < 0.03) + 0.05) - 0.008
        )  # nose to mouth corner
        depth = (0.12 + 0.5 * p.age) * (0.25 + 0.75 * joy) + 0.25 * p.age
        h.shade[at] -= 0.5 * depth * np.exp(-((fold / 0.022) ** 2) - ((v + 0.07) / 0.07) ** 2)
        at = h.around(side * 0.2, -0.07, 0.14, 0.06)
        u, v = h.X[at] - side * 0.19, h.Y[at] + 0.085
        h.shade[at] -= (0.08 + 0.3 * p.age) * bump(u / 0.08, (v - 1.8 * u * u) / 0.018)  # eye bags
    if p.age > 0.3:
        at = h.around(0, 0.25, 0.32, 0.12)
        lines = np.cos(h.Y[at] * 95 + 8 * h.X[at] ** 2) * 0.5 + 0.5
        lines *= lines * bump(h.X[at] / 0.22, (h.Y[at] - 0.25) / 0.09)
        h.shade[at] -= 0.32 * (p.age - 0.3) * lines
    at = h.around(0, -0.5, 0.2, 0.12)
    h.relief[at] += 0.022 * bump(h.X[at] / 0.11, (h.Y[at] + 0.5) / 0.07)


def paint_nose(h: Head) -> None:
    """The ridge and tip as relief, the wings, the nostrils and the shade beneath."""
    p, s = h.p, angles(h.p)[1]
    tip, wide = -0.17 - 0.06 * p.nose_length, 0.7 + 0.6 * p.nose_width
    at = h.around(0, tip / 2 + 0.02, 0.2, 0.26)
    Y = h.Y[at]
    along_ridge = np.clip((0.06 - Y) / (0.06 - tip), 0, 1)
    u = (h.X[at] - 0.1 * s * along_ridge) / wide  # what stands out moves further in a turn
    tail = soft((Y - tip + 0.07) / 0.07)
    h.relief[at] += (0.018 + 0.05 * along_ridge) * np.exp(-((u / 0.048) ** 2)) * tail
    h.relief[at] += 0.055 * bump(u / 0.055, (Y - tip) / 0.05)
    blood = 0.3 * h.p.blush * bump(u / 0.07, (Y - tip) / 0.06)
    h.paint(at, blood, (0.80, 0.28, 0.25))
    for side in (-1, 1):
        v = u - side * 0.07
        h.relief[at] += 0.03 * bump(v / 0.03, (Y - tip + 0.012) / 0.035)
        hole = bump((u - side * 0.033) / 0.02, (Y - tip + 0.047) / 0.013)
        h.shade[at] -= 0.6 * np.minimum(hole * 1.4, 1)
        rim = np.exp(-(((v - side * 0.042) / 0.013) ** 2) - ((Y - tip + 0.015) / 0.035) ** 2)
        h.shade[at] -= 0.2 * rim
    below = bump((u + 0.03 * p.light_x) / 0.07, (Y - tip + 0.085) / 0.035)
    h.shade[at] -= (0.10 + 0.16 * p.light_contrast) * (0.6 + 0.4 * p.light_y) * below


def paint_eyes(h: Head) -> None:
    """Sockets, whites, irises, lids and lashes."""
    p, px = h.p, h.px
    half = 0.085 + 0.03 * p.eye_size
    iris, pupil = along(IRIS, p.eye_colour), 0.42
    for side in (-1, 1):
        centre = side * (0.185 + 0.03 * p.eye_spacing)
        at = h.around(centre, 0.02, 0.19, 0.15)
        u, y = (h.X[at] - centre) * side, h.Y[at]
        v = y - 0.13 * p.eye_tilt * u
        h.relief[at] -= 0.03 * bump((u + 0.02) / 0.11, (v - 0.02) / 0.07)
        h.relief[at] += 0.02 * bump(u / 0.07, v / 0.045)
        arch = 1 - (u / half) ** 2
        lift = 0.012 * max(p.smile, 0)
        up, low = (
            half * (0.1 + 0.5 * p.eye_open) * arch,
            -half * (0.1 + 0.26 * p.eye_open) * arch + lift * arch,
        )
        lens = cover(np.minimum(up - v, v - low), px)
        h.shade[at] -= 0.16 * bump((u + 0.01) / (1.25 * half), (v - 0.04) / 0.045)  # eye shadow
        white = np.minimum(0.72 + 0.28 * (up - v) / 0.035, 1)
        h.paint(at, lens, np.stack((0.95 * white, 0.93 * white, 0.92 * white)))
        radius = 0.56 * half
        look = u * side - 0.026 * p.gaze
        r = np.sqrt(look * look + (v - 0.004) ** 2)
        ring = np.clip(1.25 - 0.75 * (r / radius) ** 3 - 2.5 * v, 0.3, 1.4)
        within = lens * cover(radius - r, px)
        h.paint(at, within, np.asarray(iris, np.float32)[:, None, None] * ring)
        h.paint(at, lens * cover(pupil * radius - r, px), (0.03, 0.02, 0.02))
        glint = bump((look - 0.018 * (1 if p.light_x > 0 else -1)) / 0.014, (v - 0.022) / 0.014)
        h.paint(at, np.minimum(1.5 * glint * lens, 1), (1.0, 1.0, 1.0))
        thick = 0.009 + 0.013 * p.lashes
        wing = (np.abs(u) < half * 1.02) * (0.6 + 0.4 * u / half)
        lash = cover(thick * np.clip(0.7 + 0.5 * u / half, 0, 2) - np.abs(v - up - 0.3 * thick), px)
        h.paint(
            at,
            (0.55 + 0.45 * p.lashes) * lash * np.minimum(0.5 + wing, 1) * (wing > 0),
            (0.09, 0.05, 0.04),
        )
        crease = np.exp(-(((v - 1.12 * up - 0.027) / 0.011) ** 2)) * np.clip(arch + 0.2, 0, 1)
        h.shade[at] -= (0.22 + 0.15 * p.age) * crease
        rim = np.exp(-(((v - low + 0.004) / 0.008) ** 2)) * np.clip(arch + 0.1, 0, 1)
        h.shade[at] -= 0.22 * rim * (1 - lens)


def paint_brows(h: Head) -> None:
    """Two tapered arcs in the hair's colour, darkened."""
    p = h.p
    colour = mix(mix(hair_colour(p), (0.10, 0.06, 0.05), 0.55), (0.6, 0.6, 0.6), 0.3 * p.hair_grey)
    for side in (-1, 1):
        centre = side * (0.19 + 0.03 * p.eye_spacing)
        at = h.around(centre, 0.14, 0.2, 0.1)
        u = (h.X[at] - centre) * side / 0.14
        knit = 0.02 * max(-p.brow_height, 0)
        spine = 0.128 + 0.022 * p.brow_height - 0.028 * u * u + (0.008 + knit) * u
        thick = (0.011 + 0.021 * p.brow_weight) * np.clip(1.1 - 0.45 * u - 0.25 * u * u, 0, 1.5)
        ends = soft((1.08 - np.abs(u)) / 0.25)
        off = np.abs(h.Y[at] - spine)
        brow = soft((thick - off) / (0.5 * thick + h.px) + 0.5) * ends
        h.paint(at, (0.55 + 0.4 * p.brow_weight) * brow, colour)
        h.relief[at] += 0.012 * bump(u, (h.Y[at] - spine) / 0.04)


def paint_mouth(h: Head, skin: RGB) -> None:
    """Lips along a curve, open over teeth when smiling or speaking."""
    p, px = h.p, h.px
    joy, level = max(p.smile, 0), -0.345 - 0.02 * p.chin - 0.015 * p.mouth_open
    half = 0.125 + 0.045 * joy - 0.012 * p.mouth_open
    at = h.around(0, level, 0.24, 0.16)
    u, arch = h.X[at] / half, 1 - (h.X[at] / half) ** 2
    v = h.Y[at] - level - (0.05 * p.smile - 0.004) * (np.minimum(u * u, 1.6) - 0.45)
    gap = (0.10 * p.mouth_open + 0.085 * max(p.smile - 0.2, 0)) * np.clip(arch, 0, 1)
    full = 0.55 + 0.9 * p.lip_fullness
    bow = 1 - 0.3 * np.exp(-((u / 0.16) ** 2)) if p.lip_fullness > 0 else 1
    top, bottom = 0.36 * gap + 0.030 * full * arch * bow, -0.64 * gap - 0.038 * full * arch
    lips = cover(np.minimum(top - v, v - bottom), px)
    own = mix((skin[0] * 0.93, skin[1] * 0.62, skin[2] * 0.60), (0.75, 0.32, 0.32), 0.25)
    colour = mix(own, (0.72, 0.08, 0.14), p.lipstick)
    rosy = np.asarray(colour, np.float32)[:, None, None] * (1 - 0.16 * (v > 0))
    h.paint(at, lips * (0.75 + 0.25 * p.lipstick), rosy)
    h.relief[at] += 0.014 * lips + 0.016 * bump(u / 1.1, (v + 0.02) / 0.07)
    inner = cover(np.minimum(0.36 * gap - v, v + 0.64 * gap), px) * (gap > 0.004)
    h.paint(at, inner, (0.26, 0.07, 0.08))
    tongue = inner * bump(u / 0.6, (v + 0.6 * gap) / 0.03) * min(p.mouth_open * 2, 1)
    h.paint(at, tongue, (0.68, 0.25, 0.26))
    teeth = cover(np.minimum(v + 0.62 * gap, v + 0.055 - 0.02 * u * u), px) * inner
    pearl = (
        np.clip(1.02 - 0.35 * u * u, 0, 1)[None]
        * np.array([0.96, 0.94, 0.90], np.float32)[:, None, None]
    )
    h.paint(at, teeth, pearl)
    seam = np.exp(-((v / 0.009) ** 2)) * np.clip(arch * 4 + 0.3, 0, 1) * (1 - inner)
    closed = math.exp(-40 * (max(p.smile - 0.2, 0) * 0.085 + 0.1 * p.mouth_open))
    h.shade[at] -= 0.55 * closed * seam
    corner = bump((np.abs(u) - 1.04) / 0.09, v / 0.022)
    h.shade[at] -= (0.28 + 0.2 * abs(p.smile)) * corner
    h.shade[at] -= 0.2 * bump(u / 0.75, (v - bottom + 0.055) / 0.022) * (1 - lips)


def paint_beard(h: Head) -> None:
    """Stubble or beard on cheeks and chin, and a moustache, leaving out the lips."""
    p = h.p
    if max(p.beard, p.moustache) <= 0:
        return
    at = h.around(0, -0.3, 0.62, 0.42)
    X, Y = h.X[at], h.Y[at]
    level, joy = -0.345 - 0.02 * p.chin, max(p.smile, 0)
    u, v = X / (0.155 + 0.04 * joy), Y - level - 0.05 * p.smile * (X / 0.15) ** 2 * 0.6
    grain = np.sin(310 * X + 40 * np.sin(37 * Y + 6 * p.strands)) * np.sin(
        260 * Y + 35 * np.sin(41 * X)
    )
    cheek = -0.34 + 1.5 * np.maximum(np.abs(X) - 0.17, 0) ** 1.2
    jaw = soft((cheek - Y) / 0.07 + 0.5) * soft((u * u + (v / 0.085) ** 2 - 0.8) / 0.5)
    tip = -0.17 - 0.06 * p.nose_length - 0.075
    lip = soft((tip - Y) / 0.03 + 0.5) * soft((v - 0.018) / 0.02) * soft((1.15 - np.abs(u)) / 0.3)
    dense = np.maximum(jaw * min(1.25 * p.beard, 0.93), lip * 0.93 * p.moustache)
    dark = mix(hair_colour(p), (0.08, 0.05, 0.04), 0.3)
    h.paint(at, dense * (0.86 + 0.14 * grain), dark)
    h.relief[at] += (0.012 * p.beard) * jaw * (1 + 0.25 * grain)


def paint_face(h: Head, skin: RGB) -> None:
    """Everything on the skin, in the order in which it covers."""
    paint_flesh(h)
    paint_nose(h)
    paint_mouth(h, skin)
    paint_beard(h)
    paint_eyes(h)
    paint_brows(h)
