"""Who is drawn: every number that a rendered face depends on, and a population of them."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field, fields

import numpy as np

from stylealae.errors import ConfigError

RGB = tuple[float, float, float]


def between(low: float, high: float, default: float) -> float:
    """A dataclass field for a number in [low, high]; the range is kept in its metadata."""
    number: float = field(default=default, metadata={"range": (low, high)})
    return number


@dataclass(frozen=True, kw_only=True)
class FaceParameters:
    """One person in one photograph. Lengths without a unit are relative to the usual face."""

    skin_tone: float = between(0, 1, 0.7)
    """Lightness of the skin: 0 very dark, 1 very light."""
    skin_warmth: float = between(-1, 1, 0)
    """Undertone: -1 cool and rosy, 1 warm and golden."""
    blush: float = between(0, 1, 0.3)
    """Redness of cheeks and nose."""
    age: float = between(0, 1, 0.2)
    """Depth of folds and wrinkles: 0 smooth, 1 old."""
    face_width: float = between(0, 1, 0.5)
    """Width of the head: 0 narrow, 1 broad."""
    jaw: float = between(0, 1, 0.5)
    """Shape of the jaw: 0 tapered, 1 square."""
    chin: float = between(0, 1, 0.5)
    """Length of the chin: 0 short, 1 long."""
    eye_colour: float = between(0, 1, 0.1)
    """Along brown (0), hazel (0.3), green (0.55), blue (0.8), pale grey (1)."""
    eye_size: float = between(0, 1, 0.5)
    """Size of the eyes: 0 small, 1 large."""
    eye_open: float = between(0, 1, 0.8)
    """Opening of the lids: 0 nearly closed, 1 wide."""
    eye_spacing: float = between(0, 1, 0.5)
    """Distance between the eyes: 0 close-set, 1 wide-set."""
    eye_tilt: float = between(-1, 1, 0.1)
    """Outer corners: -1 lowered, 1 raised."""
    gaze: float = between(-1, 1, 0)
    """Where the eyes look: -1 image left, 1 image right."""
    lashes: float = between(0, 1, 0.4)
    """Weight of lashes and liner."""
    brow_weight: float = between(0, 1, 0.5)
    """Thickness of the brows."""
    brow_height: float = between(-1, 1, 0)
    """-1 lowered and knitted, 1 raised."""
    nose_width: float = between(0, 1, 0.5)
    """Width of bridge and wings."""
    nose_length: float = between(0, 1, 0.5)
    """Length of the nose."""
    smile: float = between(-1, 1, 0.2)
    """Corners of the mouth: -1 drawn down, 0 neutral, 1 a broad smile showing teeth."""
    mouth_open: float = between(0, 1, 0)
    """Dropped jaw: 0 closed, 1 wide open."""
    lip_fullness: float = between(0, 1, 0.5)
    """Height of the lips."""
    lipstick: float = between(0, 1, 0.1)
    """0 the lips' own colour, 1 a strong red."""
    beard: float = between(0, 1, 0)
    """On cheeks and chin: 0 shaven, 0.3 stubble, 1 full and long."""
    moustache: float = between(0, 1, 0)
    """On the upper lip: 0 shaven, 1 thick."""
    hair_tone: float = between(0, 1, 0.35)
    """Along black (0), dark brown (0.35), brown (0.6), dark blond (0.8), blond (1)."""
    hair_red: float = between(0, 1, 0)
    """Mixed-in copper."""
    hair_grey: float = between(0, 1, 0)
    """Mixed-in grey."""
    hair_length: float = between(0, 1, 0.3)
    """0 cropped, 0.3 above the ears, 0.6 to the chin, 1 below the shoulders."""
    hair_volume: float = between(0, 1, 0.4)
    """How far the hair stands off the head."""
    hair_curl: float = between(0, 1, 0.2)
    """0 straight, 0.5 wavy, 1 tight curls."""
    hair_recession: float = between(0, 1, 0.1)
    """Height of the hairline: 0 low, 0.5 receding, 1 bald on top."""
    fringe: float = between(0, 1, 0.2)
    """How far hair falls over the forehead: 0 swept back, 1 down to the brows."""
    parting: float = between(-1, 1, 0.3)
    """Where the hair parts: -1 image left, 1 image right."""
    strands: float = between(0, 1, 0.5)
    """Phase of the strand and beard pattern, in turns."""
    glasses: float = between(0, 1, 0)
    """0 none, 1 worn; between, translucent."""
    glasses_round: float = between(0, 1, 0.5)
    """Lens outline: 0 rectangular, 1 round."""
    glasses_tint: float = between(0, 1, 0)
    """0 clear, 1 sunglasses."""
    glasses_weight: float = between(0, 1, 0.5)
    """Rim: 0 thin metal, 1 thick dark acetate."""
    yaw: float = between(-1, 1, 0)
    """Turn of the head: -1 is 35 degrees to image left, 1 to image right."""
    pitch: float = between(-1, 1, 0)
    """Nod of the head: -1 is 20 degrees down, 1 up."""
    roll: float = between(-1, 1, 0)
    """Tilt of the head: -1 is 14 degrees anticlockwise, 1 clockwise."""
    light_x: float = between(-1, 1, -0.4)
    """Where the light comes from: -1 image left, 1 image right."""
    light_y: float = between(-1, 1, 0.4)
    """Height of the light: -1 level with the chin, 1 overhead."""
    light_warmth: float = between(-1, 1, 0.1)
    """-1 bluish daylight, 1 evening gold."""
    light_contrast: float = between(0, 1, 0.5)
    """0 overcast, 1 hard studio light."""
    backdrop_hue: float = between(0, 1, 0.6)
    """Hue of the background, in turns from red."""
    backdrop_turn: float = between(-1, 1, 0.2)
    """Hue of its second colour, in quarter turns from the first."""
    backdrop_saturation: float = between(0, 1, 0.4)
    """0 grey, 1 vivid."""
    backdrop_lightness: float = between(0, 1, 0.6)
    """0 nearly black, 1 nearly white."""
    backdrop_blob: float = between(-1, 1, 0.4)
    """Place of the blurred glow behind the head: -1 image left, 1 image right."""
    shirt_hue: float = between(0, 1, 0.6)
    """Hue of the shirt, in turns from red."""
    shirt_saturation: float = between(0, 1, 0.4)
    """0 grey, 1 vivid."""
    shirt_lightness: float = between(0, 1, 0.5)
    """0 black, 1 white."""
    neckline: float = between(0, 1, 0.4)
    """0 high and round, 1 a deep open collar."""

    def __post_init__(self) -> None:
        """Refuse a number outside its range."""
        for name, (low, high) in RANGES.items():
            found = getattr(self, name)
            if not low <= found <= high:
                raise ConfigError(f"{name} is {found}: keep it between {low} and {high}")


RANGES: dict[str, tuple[float, float]] = {
    f.name: f.metadata["range"] for f in fields(FaceParameters)
}
"""The documented range of every parameter."""

LABELS: tuple[str, ...] = tuple(RANGES)
"""The names of the labels, in the order of the fields."""


def sample_parameters(index: int) -> FaceParameters:
    """The person with this number; every index, on every machine, is always the same person."""
    rng = np.random.default_rng((0xFACE, index))
    uniform = dict(zip(LABELS, rng.random(len(LABELS)).tolist(), strict=True))
    p = {name: low + (high - low) * uniform[name] for name, (low, high) in RANGES.items()}
    p |= likely(rng, uniform)
    return FaceParameters(**{n: min(max(p[n], RANGES[n][0]), RANGES[n][1]) for n in LABELS})


def likely(rng: np.random.Generator, uniform: dict[str, float]) -> dict[str, float]:
    """The parameters that are not uniform, or go together: hair and age, beard and jaw."""

    def bell(mean: float, deviation: float) -> float:
        return mean + deviation * float(rng.standard_normal())

    def rare(chance: float, low: float = 0.4, high: float = 1.0) -> float:
        there, much = rng.random(2)
        return float(low + (high - low) * much) if there < chance else 0.0

    fair, soft, grown = uniform["skin_tone"], bell(float(rng.integers(2)), 0.16), uniform["age"]
    dark_haired = rng.random() > 1.3 * fair - 0.25
    p = {
        "age": grown**1.6,
        "blush": bell(0.3 + 0.2 * soft, 0.18),
        "face_width": bell(0.55 - 0.15 * soft, 0.22),
        "jaw": bell(0.68 - 0.4 * soft, 0.2),
        "eye_colour": bell(0.08, 0.08) if dark_haired else uniform["eye_colour"],
        "eye_size": bell(0.4 + 0.25 * soft, 0.2),
        "eye_open": bell(0.75, 0.16),
        "eye_tilt": bell(0.15, 0.4),
        "gaze": bell(0, 0.35),
        "lashes": bell(0.2 + 0.5 * soft, 0.18),
        "brow_weight": bell(0.6 - 0.3 * soft, 0.18),
        "brow_height": bell(0.1, 0.35),
        "smile": bell(0.3, 0.5),
        "mouth_open": rare(0.18, 0.1, 0.9),
        "lip_fullness": bell(0.35 + 0.25 * soft, 0.2),
        "lipstick": rare(0.6, 0.2) if soft > 0.5 else 0.0,
        "beard": rare(0.55, 0.15) if soft < 0.35 else 0.0,
        "moustache": rare(0.45, 0.3) if soft < 0.35 else 0.0,
        "hair_tone": bell(0.15, 0.14) if dark_haired else bell(0.7, 0.22),
        "hair_red": 0.0 if dark_haired else rare(0.22),
        "hair_grey": rare(1.6 * grown - 1.0),
        "hair_length": bell(0.22 + 0.56 * soft, 0.18),
        "hair_recession": bell(0.15, 0.1) if soft > 0.4 else bell(0.2 + 0.3 * grown, 0.25),
        "hair_curl": uniform["hair_curl"] ** 1.5,
        "glasses": float(rng.random() < 0.24),
        "glasses_tint": rare(0.25, 0.7),
        "yaw": bell(0, 0.42),
        "pitch": bell(0, 0.35),
        "roll": bell(0, 0.3),
        "light_y": bell(0.35, 0.3),
        "light_warmth": bell(0, 0.4),
        "backdrop_saturation": 0.65 * uniform["backdrop_saturation"] ** 1.3,
        "backdrop_lightness": 0.18 + 0.77 * uniform["backdrop_lightness"],
        "shirt_saturation": 0.75 * uniform["shirt_saturation"],
    }
    p["moustache"] = max(p["moustache"], min(p["beard"], 0.8))
    return p


SKIN = (
    (0.33, 0.21, 0.16),
    (0.52, 0.34, 0.24),
    (0.73, 0.51, 0.38),
    (0.89, 0.66, 0.565),
    (0.96, 0.79, 0.735),
)
HAIR = (
    (0.07, 0.06, 0.06),
    (0.22, 0.14, 0.10),
    (0.42, 0.27, 0.16),
    (0.68, 0.50, 0.28),
    (0.90, 0.76, 0.50),
)
IRIS = (
    (0.20, 0.11, 0.07),
    (0.46, 0.31, 0.13),
    (0.33, 0.50, 0.27),
    (0.25, 0.48, 0.74),
    (0.60, 0.72, 0.80),
)


def along(stops: tuple[RGB, ...], t: float) -> RGB:
    """The colour at `t` in [0, 1] on a ramp of evenly spaced colours."""
    low = min(int(t * (len(stops) - 1)), len(stops) - 2)
    return mix(stops[low], stops[low + 1], t * (len(stops) - 1) - low)


def mix(a: RGB, b: RGB, t: float) -> RGB:
    """`a` at t = 0, `b` at t = 1."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def skin_colour(p: FaceParameters) -> RGB:
    """The albedo of the skin."""
    (r, g, b), warm = along(SKIN, p.skin_tone), p.skin_warmth
    return (r * (1 + 0.02 * warm), g * (1 + 0.03 * warm), b * (1 - 0.1 * warm))


def hair_colour(p: FaceParameters) -> RGB:
    """The albedo of hair, beard and (darkened) brows."""
    copper = mix((0.42, 0.15, 0.07), (0.80, 0.40, 0.18), p.hair_tone)
    return mix(mix(along(HAIR, p.hair_tone), copper, p.hair_red), (0.74, 0.74, 0.75), p.hair_grey)


def hue_colour(hue: float, saturation: float, lightness: float) -> RGB:
    """A colour by hue in turns, saturation and lightness in [0, 1]."""
    return colorsys.hls_to_rgb(hue % 1, lightness, saturation)
