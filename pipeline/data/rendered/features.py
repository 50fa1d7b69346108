"""What is painted on the skin of a head: eyes, brows, nose, mouth, beard, folds.

The legend of `face_head` holds; every feature is drawn in skin coordinates X, Y within a region.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.data.rendered.head import Head, angles, bump, cover, soft
from pipeline.data.rendered.parameters import IRIS, RGB, along, hair_colour, mix


def paint_flesh(h: Head) -> None:
    """Cheeks, brow ridge, chin, folds of age: the large forms and the blood under the skin."""
    p = h.p
    joy = max(p.smile, 0)
    for side in (-1, 1):
        at = h.around(side * 0.24, -0.17, 0.34, 0.3)
        u, v = h.X[at] - side * 0.25, h.Y[at] + 0.17 - 0.03 * joy
        h.relief[at] += (0.02 + 0.02 * joy) * bump(u / 0.13, v / 0.11)
        h.paint(at, 0.30 * p.blush * bump(u / 0.12, v / 0.1), (0.80, 0.24, 0.24))
        fold = u * side + 0.16 + 0.5 * v  # from the nose to the corner of the mouth
        depth = (0.12 + 0.5 * p.age) * (0.25 + 0.75 * joy) + 0.25 * p.age
        h.shade[at] -= 0.42 * depth * bump(fold / 0.03, (v + 0.08) / 0.075)
        at = h.around(side * 0.2, -0.07, 0.22, 0.1)
        u, v = h.X[at] - side * 0.19, h.Y[at] + 0.085
        h.shade[at] -= (0.08 + 0.3 * p.age) * bump(u / 0.08, (v - 1.8 * u * u) / 0.018)  # eye bags
    if p.age > 0.3:
        at = h.around(0, 0.25, 0.5, 0.24)
        lines = np.cos(h.Y[at] * 95 + 8 * h.X[at] ** 2) * 0.5 + 0.5
        lines *= lines * bump(h.X[at] / 0.22, (h.Y[at] - 0.25) / 0.09)
        h.shade[at] -= 0.24 * (p.age - 0.3) * lines
    at = h.around(0, -0.5, 0.3, 0.26)
    h.relief[at] += 0.022 * bump(h.X[at] / 0.11, (h.Y[at] + 0.5) / 0.07)


def paint_nose(h: Head) -> None:
    """The ridge and tip as relief, the wings, the nostrils and the shade beneath."""
    p, s = h.p, angles(h.p)[1]
    tip, wide = -0.17 - 0.06 * p.nose_length, 0.7 + 0.6 * p.nose_width
    at = h.around(0, tip / 2 + 0.02, 0.26, 0.32)
    Y = h.Y[at]
    along_ridge = np.clip((0.06 - Y) / (0.06 - tip), 0, 1)
    u = (h.X[at] - 0.1 * s * along_ridge) / wide  # what stands out moves further in a turn
    tail = soft((Y - tip + 0.07) / 0.07) * soft((0.16 - Y) / 0.14)
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
    half = 0.088 + 0.034 * p.eye_size
    iris, pupil = along(IRIS, p.eye_colour), 0.42
    for side in (-1, 1):
        centre = side * (0.185 + 0.03 * p.eye_spacing)
        at = h.around(centre, 0.02, 0.28, 0.22)
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
        end = u / half
        thick = (0.009 + 0.013 * p.lashes) * np.clip(0.75 + 0.5 * end, 0, 2)
        thick = thick * soft((1.08 - np.abs(end)) / 0.3)
        lash = cover(thick - np.abs(v - up - 0.3 * thick), px) * (np.abs(end) < 1.07)
        dark = (0.55 + 0.45 * p.lashes) * np.clip(1.1 + 0.4 * end, 0, 1)
        h.paint(at, dark * lash, (0.09, 0.05, 0.04))
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
        at = h.around(centre, 0.14, 0.24, 0.16)
        u = (h.X[at] - centre) * side / 0.14
        knit = 0.03 * max(-p.brow_height, 0) - 0.012 * max(p.brow_height, 0)
        spine = 0.128 + 0.022 * p.brow_height - 0.026 * u * u + (knit - 0.002) * u
        thick = (0.009 + 0.02 * p.brow_weight) * np.clip(1.1 - 0.45 * u - 0.25 * u * u, 0, 1.5)
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
    at = h.around(0, level, 0.32, 0.24)
    u, arch = h.X[at] / half, 1 - (h.X[at] / half) ** 2
    bend = (0.05 if p.smile > 0 else 0.038) * p.smile - 0.004
    v = h.Y[at] - level - bend * (np.minimum(u * u, 1.6) - 0.45)
    parted = 0.10 * p.mouth_open + 0.085 * max(p.smile - 0.2, 0)
    gap = parted * np.clip(1.5 * arch - 0.5 * arch * arch, 0, 1)
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
    edge = np.minimum(0.62 * gap, 0.055 - 0.02 * u * u - 0.022 * p.mouth_open)
    teeth = cover(v + edge, px) * inner
    pearl = (
        np.clip(1.02 - 0.35 * u * u, 0, 1)[None]
        * np.array([0.96, 0.94, 0.90], np.float32)[:, None, None]
    )
    h.paint(at, teeth, pearl)
    seam = np.exp(-((v / 0.009) ** 2)) * np.clip(arch * 4 + 0.3, 0, 1) * (1 - inner)
    closed = math.exp(-40 * parted)
    h.shade[at] -= 0.55 * closed * seam
    corner = bump((np.abs(u) - 1.04) / 0.09, v / 0.022)
    h.shade[at] -= (0.28 + 0.2 * abs(p.smile)) * corner
    h.shade[at] -= 0.2 * bump(u / 0.75, (v - bottom + 0.055) / 0.022) * (1 - lips)


def paint_beard(h: Head) -> None:
    """Stubble or beard on cheeks and chin, and a moustache, leaving out the lips."""
    p = h.p
    if max(p.beard, p.moustache) <= 0:
        return
    at = h.around(0, -0.3, 0.7, 0.5)
    X, Y = h.X[at], h.Y[at]
    level, joy = -0.345 - 0.02 * p.chin, max(p.smile, 0)
    u, v = X / (0.135 + 0.045 * joy), Y - level - 0.05 * p.smile * (X / 0.15) ** 2 * 0.6
    texture = np.sin(310 * X + 40 * np.sin(37 * Y + 6 * p.strands)) * np.sin(
        260 * Y + 35 * np.sin(41 * X)
    )
    cheek = -0.34 + 1.5 * np.maximum(np.abs(X) - 0.17, 0) ** 1.2
    jaw = soft((cheek - Y) / 0.07 + 0.5) * soft(
        (u * u + (v / (0.062 + 0.03 * joy + 0.05 * p.mouth_open)) ** 2 - 0.8) / 0.5
    )
    tip = -0.17 - 0.06 * p.nose_length - 0.075
    droop = np.abs(u) - 0.75
    lip = soft((tip + 0.012 - 0.03 * u * u - Y) / 0.03) * soft((1.4 - np.abs(u)) / 0.35)
    lip = lip * soft((v - 0.004 + 0.12 * np.maximum(droop, 0)) / 0.02)
    dense = np.maximum(jaw * min(1.25 * p.beard, 0.93), lip * min(1.3 * p.moustache, 0.95))
    dark = mix(hair_colour(p), (0.08, 0.05, 0.04), 0.3)
    h.paint(at, dense * (0.86 + 0.14 * texture), dark)
    h.relief[at] += (0.012 * p.beard) * jaw * (1 + 0.25 * texture)


def paint_face(h: Head, skin: RGB) -> None:
    """Everything on the skin, in the order in which it covers."""
    paint_flesh(h)
    paint_nose(h)
    paint_mouth(h, skin)
    paint_beard(h)
    paint_eyes(h)
    paint_brows(h)
