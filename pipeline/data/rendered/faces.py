"""Rendered faces, the embedded data set: portraits drawn from numbers, at any resolution.

A picture is a backdrop, a body, a head lit as a solid, glasses and hair, laid over one another.
The legend of `face_head` holds: R resolution; h, w a region; [-SPAN, SPAN] with y upwards.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from pipeline.data.rendered.features import paint_face
from pipeline.data.rendered.hair import hairless, lay_hair
from pipeline.data.rendered.head import (
    DEPTH,
    EYE_LEVEL,
    Array,
    Head,
    angles,
    column,
    cover,
    grid,
    half_width,
    head,
    lay,
    lit,
    project,
    shift,
    soft,
)
from pipeline.data.rendered.parameters import (
    LABELS,
    RANGES,
    RGB,
    FaceParameters,
    hair_colour,
    hue_colour,
    mix,
    sample_parameters,
    skin_colour,
)
from stylealae.errors import ConfigError

__all__ = ["LABELS", "RANGES", "FaceParameters", "draw", "render", "sample_parameters"]

SMALLEST = 128
"""Smaller pictures are means of one drawn at this resolution, so all resolutions agree."""


def render(index: int, resolution: int) -> tuple[np.ndarray, dict[str, float]]:
    """-> uint8 [R, R, 3] and its labels: the portrait with this number, always the same."""
    p = sample_parameters(index)
    return draw(p, resolution), asdict(p)


def draw(p: FaceParameters, resolution: int) -> np.ndarray:
    """-> uint8 [R, R, 3]: the portrait described; R is a power of two from 4 to 1024."""
    if resolution not in (4 << stage for stage in range(9)):
        raise ConfigError(f"resolution is {resolution}: choose a power of two from 4 to 1024")
    canvas = paint(p, max(resolution, SMALLEST))  # [3, R, R]
    while canvas.shape[1] > resolution:
        canvas = canvas[:, ::2] + canvas[:, 1::2]
        canvas = 0.25 * (canvas[:, :, ::2] + canvas[:, :, 1::2])
    pixels = np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def paint(p: FaceParameters, resolution: int) -> Array:
    """-> [3, R, R], about [0, 1]: all layers, back to front."""
    skin = skin_colour(p)
    h = head(p, resolution, skin)
    paint_face(h, skin)
    bare = hairless(h)
    canvas = backdrop(p, resolution)
    lay_body(canvas, h, skin)
    lay_ears(canvas, h, skin, over=False)
    lay_head(canvas, h, bare)
    lay_ears(canvas, h, skin, over=True)
    lay_glasses(canvas, h)
    lay_hair(canvas, h, bare)
    return 1.08 * canvas / (1 + 0.12 * canvas * canvas)  # a film's shoulder: no burnt highlights


def backdrop(p: FaceParameters, resolution: int) -> Array:
    """-> [3, R, R]: two colours across the picture and a blurred glow."""
    x, y = grid(resolution)
    lightness, turned = 0.08 + 0.82 * p.backdrop_lightness, p.backdrop_hue + 0.25 * p.backdrop_turn
    first = hue_colour(p.backdrop_hue, p.backdrop_saturation, lightness)
    second = hue_colour(turned, p.backdrop_saturation, 0.62 * lightness)
    t = soft(0.5 - 0.45 * y + 0.3 * p.light_x * -x)
    canvas: Array = column(first) + t * (column(second) - column(first))
    glow = np.exp(-(((x - p.backdrop_blob) / 0.55) ** 2)) * np.exp(-(((y - 0.35) / 0.6) ** 2))
    canvas += 0.45 * glow * (column(mix(first, (1, 1, 1), 0.45)) - canvas)
    return canvas


def lay_body(canvas: Array, h: Head, skin: RGB) -> None:
    """Neck and shoulders, the shirt with its collar, and a beard that hangs below the chin."""
    p = h.p
    gx, y = grid(canvas.shape[1])
    at = slice(round(canvas.shape[1] * 0.66), None), slice(None)
    x, y = gx - 0.35 * shift(p) - 0.1 * p.roll, y[at[0]]
    wide, span = 0.22 + 0.04 * p.face_width + 0.04 * p.jaw, np.abs(x)
    flare = 0.5 * np.maximum(-0.53 - y, 0) ** 1.5
    neck = cover(wide + flare - span, h.px)
    nx = np.clip(x / (wide + 0.03), -0.95, 0.95)
    chin = project(p, 0, -0.5)
    fall = soft((chin[1] - 0.09 - 0.35 * (x - chin[0]) ** 2 - y) / 0.30)
    tone = column(skin) * lit(p, nx, np.float32(-0.1) * y, np.sqrt(1 - nx * nx))
    bare = tone * (0.58 + 0.38 * fall)
    slope = -0.57 - 0.30 * np.maximum(span - 0.16, 0) ** 0.9 - 0.25 * np.maximum(span - 0.62, 0)
    lay(canvas, at, np.maximum(neck * (y > -0.9), cover(slope - y, h.px)), bare)
    depth = 0.04 + 0.42 * p.neckline
    cut = (span / (wide + 0.05)) ** (2.2 - 1.2 * p.neckline)  # round to pointed
    opening = -0.57 - depth * np.maximum(1 - cut, -0.2)
    shirt = cover(np.minimum(opening, slope + 0.012) - y, h.px)
    cloth = column(hue_colour(p.shirt_hue, p.shirt_saturation, 0.08 + 0.84 * p.shirt_lightness))
    sx = np.clip(x * 0.8, -0.9, 0.9)
    folds = 1 + 0.05 * np.sin(9 * x + 4 * y) * np.sin(5 * y - 6 * span)
    shaded = cloth * lit(p, sx, 0.5 + 0 * y, np.sqrt(1 - sx * sx), 0.3) * folds
    lay(canvas, at, shirt, shaded * (0.72 + 0.28 * soft((slope - y) / 0.1)))
    trim = cover(0.022 + 0.03 * p.neckline - np.abs(opening - 0.02 - y), h.px) * shirt
    lay(canvas, at, 0.55 * trim, shaded * 0.75 + 0.22)
    if p.beard > 0.5:
        hang = 0.10 + 0.26 * (p.beard - 0.5)
        u, v = (gx - chin[0] - 0.4 * shift(p)) / 0.24, (y - chin[1] - 0.03) / hang
        edge = soft((1 - u * u - v * v) / 0.3 + 0.08 * np.sin(60 * u) * np.cos(9 * v))
        dark = column(mix(hair_colour(p), (0.08, 0.05, 0.04), 0.35))
        lay(canvas, at, edge, dark * (0.72 + 0.04 * np.sin(55 * u) + 0.15 * v))


def lay_ears(canvas: Array, h: Head, skin: RGB, over: bool) -> None:
    """The ears: both lie behind the head, the one turned towards us also over it."""
    p = h.p
    c, s, sp, cr, sr = angles(p)
    for side in (-1, 1):
        near = -side * s
        weight = min(max(near / 0.2, 0.0), 1.0) if over else 1.0
        weight *= min(max((0.55 - p.hair_length) / 0.1, 0.0), 1.0)  # long hair covers them
        if weight == 0 or (near < -0.3):
            continue
        out = side * (half_width(p) + 0.015)
        x, y = c * out - 0.10 * s + shift(p), -0.09 + 0.12 * sp
        rx, ry = 0.055 + 0.05 * max(near, 0), 0.13
        at = h.near(cr * x + sr * y, cr * y - sr * x + EYE_LEVEL, 0.13, 0.17)
        u, v = (h.x[at] - x) / rx, (h.y[at] - y) / ry
        u = u - 0.25 * side * v
        r = np.sqrt(u * u + v * v)
        light = lit(p, 0.55 * side + 0.3 * u, 0.2 * v, np.float32(0.7) - 0.2 * r)
        hollow = 1 - 0.42 * np.exp(-(((u - 0.1 * side) / 0.5) ** 2) - (v - 0.1) ** 2 / 0.35)
        mask = weight * cover((1 - r) * rx, h.px)
        rosy = column((skin[0], skin[1] * 0.9, skin[2] * 0.88))
        rows, cols = h.region
        lay(canvas[:, rows, cols], at, mask, rosy * light * hollow)


def lay_head(canvas: Array, h: Head, bare: Array) -> None:
    """The head under its light; `bare` is the distance from the hair, which casts a shade."""
    nx, ny, nz = h.normal
    slope_y, slope_x = np.gradient(h.relief, h.px)
    flat = 1.9 * nz  # relief counts for less where the skin turns away
    nx, ny = 2.3 * nx - flat * slope_x, ny + flat * slope_y  # a rounder light than the solid's
    size = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * size, ny * size, nz * size
    p = h.p
    hairy = 0.35 * np.exp(-np.square(np.maximum(bare, 0) / 0.07)) * (bare > -0.1)
    shade = np.clip(h.shade - hairy, 0.15, 1.1)
    colour = h.albedo * lit(p, nx, ny, nz) * shade
    gloss = np.clip(0.45 * p.light_x * nx + (0.15 + 0.3 * p.light_y) * ny + 0.88 * nz, 0, 1)
    gloss = gloss * gloss
    gloss = gloss * gloss
    colour += (0.05 + 0.06 * p.light_contrast) * gloss * gloss * shade
    lay(canvas, h.region, h.mask, colour)


def lay_glasses(canvas: Array, h: Head) -> None:
    """Two lenses in a plane before the eyes, a bridge and the arms."""
    p = h.p
    if p.glasses <= 0:
        return
    c, s, sp, _, _ = angles(p)
    ahead = DEPTH * 0.44
    X = (h.x - shift(p) - s * ahead) / c
    Y = h.y - sp * (ahead - 0.3) + 0.012
    rim = 0.008 + 0.014 * p.glasses_weight
    corner = 0.035 + 0.065 * p.glasses_round
    high = 0.088 + 0.02 * p.glasses_round
    qx = np.abs(np.abs(X) - 0.2) - (0.132 - corner)
    qy = np.abs(Y) - (high - corner)
    inside = corner - np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    inside -= np.minimum(np.maximum(qx, qy), 0)
    lens = cover(inside, h.px)
    frame = cover(rim - np.abs(inside), h.px)
    bridge = cover(np.minimum(rim - np.abs(Y - 0.03 + 2 * X * X), 0.075 - np.abs(X)), h.px)
    arm = cover(np.minimum(rim - np.abs(h.Y - 0.03), np.abs(h.X) - 0.325), h.px) * h.mask
    streak = soft((0.03 - np.abs(X - 0.6 * Y - np.where(X > 0, 0.16, -0.24))) / 0.02) * (Y > -0.06)
    metal, acetate = (0.62, 0.55, 0.42), (0.07, 0.05, 0.05)
    tone = mix(metal, acetate, min(1.6 * p.glasses_weight, 1))
    tinted = column((0.10, 0.08, 0.08)) * (1.5 - 3 * Y)
    lay(canvas, h.region, p.glasses * lens * (0.04 + 0.88 * p.glasses_tint), tinted)
    lay(canvas, h.region, p.glasses * lens * streak * 0.16, column((1, 1, 1)))
    lay(canvas, h.region, p.glasses * np.maximum(np.maximum(frame, bridge), arm), column(tone))
