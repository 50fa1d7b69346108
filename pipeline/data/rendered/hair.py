"""The hair of a rendered face: where the skin is bare, and the shell of strands around the rest.

The legend of `face_head` holds.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.data.rendered.head import (
    EYE_LEVEL,
    SPAN,
    Array,
    Head,
    angles,
    column,
    cover,
    grid,
    half_width,
    lay,
    lit,
    shift,
    soft,
)
from pipeline.data.rendered.parameters import FaceParameters, hair_colour


def hairless(h: Head) -> Array:
    """-> [h, w]: distance from the hair on the skin, positive on the bare face."""
    p = h.p
    closing = min(max(2 * p.hair_length - 0.6, 0), 1)  # long hair falls over the cheeks
    side = half_width(p) * (0.91 - 0.10 * closing) - np.abs(h.X)
    side += 2.0 * np.square(np.maximum(-0.04 - h.Y, 0))
    off = np.abs(h.X - 0.16 * p.parting)
    drop = 0.24 * p.fringe * (p.fringe + (1 - p.fringe) * soft(off / 0.3))
    line = 0.35 + 0.75 * p.hair_recession**1.7 + 0.6 * p.hair_recession * h.X * h.X
    teeth = np.sin(64 * h.X + 6 * p.strands + 12 * h.Y) + np.sin(27 * h.X - 9 * p.strands)
    top = line - 0.25 * off * off - drop + (0.003 + 0.007 * p.fringe) * teeth - h.Y
    meet = np.maximum(0.22 - np.abs(side - top), 0)  # round the temples off
    bare: Array = np.minimum(side, top) - meet * meet * (0.25 / 0.22)
    return bare


def strands(p: FaceParameters, x: Array, y: Array, high: float) -> tuple[Array, Array]:
    """-> [h, w] twice, in [-1, 1]: strands that fan out from the parting, and curls."""
    turn = 2 * math.pi * p.strands
    fan = (x - 0.16 * p.parting) / (0.32 + high - np.maximum(y, 0))
    fan = fan + p.hair_curl * 0.10 * np.sin(16 * y + 5 * fan + turn)
    wander = np.sin(11 * fan + 2 * turn)
    strand = 0.5 * np.sin(31 * fan + turn + 1.6 * wander) + 0.25 * np.sin(73 * fan - 2 * wander)
    strand += 0.25 * wander
    curls = np.sin(27 * x + turn + 2 * np.sin(14 * y)) * np.sin(25 * y - turn + 2 * np.sin(17 * x))
    return strand, curls


def lay_hair(canvas: Array, h: Head, bare: Array) -> None:
    """A shell around the skull, down to the hair's length, open at the face and the neck."""
    p, resolution = h.p, canvas.shape[1]
    _, s, _, cr, sr = angles(p)
    end = float(np.interp(p.hair_length, (0, 0.3, 0.6, 1), (0.0, -0.09, -0.52, -1.3)))
    last = min(round(resolution * (0.66 - end * 0.5 / SPAN)), resolution)
    gx, gy = grid(resolution)
    gy = gy[:last] - EYE_LEVEL
    x, y = cr * gx - sr * gy, sr * gx + cr * gy  # [h, R]
    x = x - (0.8 * shift(p) - 0.04 * s)
    body = (0.02 + 0.12 * p.hair_volume) * min(1.0, 0.15 + 3 * p.hair_length)
    body *= 1 - 0.5 * p.hair_recession
    wide = half_width(p) + 0.02 + 0.03 * s * s + 0.8 * body
    high = 0.61 + body * (1 - 2 * max(p.hair_recession - 0.5, 0))
    high -= 0.3 * max(p.hair_recession - 0.6, 0)
    strand, curls = strands(p, x, y, high)

    a2, b2 = np.square(x / wide), np.square(np.maximum(y, 0) / high)
    shell = (1 - np.sqrt(np.maximum(a2 + b2 - 0.42 * a2 * b2, 0))) * wide
    shell += np.square(np.minimum(y, 0)) * (0.10 - 0.5 * max(0.45 - p.hair_length, 0))
    shell += 0.022 * p.hair_curl * curls + 0.006 * strand
    tip = (y - end + 0.03 * strand) / (0.04 + 0.12 * max(0.45 - p.hair_length, 0)) + 0.5
    hair = cover(shell, h.px) * soft(tip)
    open_face(hair, h, bare)
    if p.hair_length > 0.4:
        ajar = half_width(p) - 0.19 + 0.12 * np.maximum(-0.6 - y, 0) + 0.008 * strand
        throat = ajar - np.abs(x - 0.1 * shift(p) + 0.5 * s * np.clip(-0.3 - y, 0, 0.3))
        hair *= 1 - cover(throat, h.px) * soft((-0.38 - y) / 0.02)

    nx = np.clip(x / (wide + 0.02), -0.97, 0.97) + 0.16 * strand
    ny = np.clip(y / high, -0.25, 1)
    nz = np.sqrt(np.maximum(1.02 - nx * nx - ny * ny, 0.02))
    sheen = np.exp(-np.square((ny - 0.42 - 0.15 * p.light_y + 0.5 * a2) / 0.16))
    sheen *= (0.55 + 0.45 * strand) * np.clip(0.6 + p.light_x * nx + 0.3 * nz, 0, 1.2)
    under = 0.35 * soft((-0.25 - y) / 0.5) * soft(1.3 - 1.5 * np.sqrt(a2))  # beside the neck
    depth = 0.86 + 0.16 * strand + 0.2 * p.hair_curl * curls - under
    base = column(hair_colour(p))
    colour = base * lit(p, nx, ny, nz, 0.3) * depth
    colour += (0.35 * base + 0.08) * ((1 - 0.6 * p.hair_curl) * sheen)
    lay(canvas, (slice(0, last), slice(None)), hair, colour)


def open_face(hair: Array, h: Head, bare: Array) -> None:
    """Take the hair away from the bare face; cropped hair thins out and ends softly."""
    rows, cols = h.region
    rows = slice(rows.start, min(rows.stop, len(hair)))
    seen = slice(0, rows.stop - rows.start)
    crop = max(0.3 - h.p.hair_length, 0)
    hair *= 1 - 0.3 * crop
    edge = bare[seen] / (1 + 6 * crop)
    hair[rows, cols] *= 1 - cover(edge, h.px) * np.square(h.mask[seen])
