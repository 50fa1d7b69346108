"""The studio without its web server: encode, compose styles, paint.

Legend: N styles, L layers of G, W width of w, C channels, R resolution.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pipeline.studio.recipe import Face, Recipe, bands_of
from stylealae import StyleALAE, latents
from stylealae.editing.directions import Directions, principal, sefa
from stylealae.editing.refinement import Refined
from stylealae.editing.tuning import Tuned, Tuning
from stylealae.errors import ConfigError
from stylealae.image_grid import to_uint8
from stylealae.interop.prepared import PreparedGenerator
from stylealae.priors import rng

__all__ = ["Brush", "Studio"]

STYLES = 1024
"""Styles of the prior from which directions are found and units taken."""
COMPONENTS, STYLES_A_BAND = 6, 4
REACH = 3.0
"""Sliders go so many standard deviations to either side."""
AT_ONCE, PIXELS_AT_ONCE = 16, 1 << 16
"""Pictures that are painted together, and their pixels, unless one alone has more."""
SEEDS = 4096
"""Styles of seeds that are kept."""


@dataclass(frozen=True, eq=False)
class Brush:
    """What turns styles into pictures: a model, and its G prepared for many of them."""

    m: StyleALAE
    G: PreparedGenerator

    @classmethod
    def of(cls, m: StyleALAE) -> "Brush":
        """Of a model as it is now: its G is copied."""
        return cls(m, PreparedGenerator(m.nets, m.stage))

    @property
    def size(self) -> int:
        """Bytes of both generators."""
        both = (*self.m.nets.G.parameters(), *self.G.parameters())
        return sum(p.numel() * p.element_size() for p in both)


class Studio:
    """A model, the directions its sliders move along, and how to paint a recipe."""

    def __init__(self, m: StyleALAE, attributes: Directions | None = None) -> None:
        self.m = m
        self.layers = 2 * (m.stage + 1)
        self.bands = bands_of(self.layers)
        w = m.styles(STYLES).cpu()  # [N, W]
        self.labelled = attributes is not None
        self.attributes = attributes or principal(w, min(COMPONENTS, m.model.w_width))
        wide = self.attributes.vectors.shape[1]
        if wide != m.model.w_width:
            raise ConfigError(
                f"the directions are for styles of {wide} numbers, this model's have "
                f"{m.model.w_width}: fit directions for this model with `stylealae directions`"
            )
        self.styles = tuple(
            _named(sefa(m.nets.G, w, min(STYLES_A_BAND, m.model.w_width), (b.first, b.last)),
                   [f"{b.name} {k + 1}" for k in range(STYLES_A_BAND)])
            for b in self.bands
        )  # fmt: skip
        self._known = (self.attributes, *self.styles)
        self.at_once = max(1, min(AT_ONCE, PIXELS_AT_ONCE // m.resolution**2))
        self._seeded = lru_cache(SEEDS)(lambda seed: m.styles(1, seed))
        self._brush = Brush.of(m)
        self._drafts_help = self._bfloat16_is_quicker()

    def about(self) -> dict[str, object]:
        """What the page needs to know of the model: sizes, sliders, bands."""
        return {
            "resolution": self.m.resolution,
            "channels": self.m.model.channels,
            "seen": self.m.seen,
            "labelled": self.labelled,
            "reach": REACH,
            "attributes": [
                {"name": n, "hint": self._hint(n), "weak": self._is_weak(n)}
                for n in self.attributes.names
            ],
            "bands": [
                {"name": b.name, "caption": b.caption, "styles": list(d.names)}
                for b, d in zip(self.bands, self.styles, strict=True)
            ],
        }

    def _hint(self, attribute: str) -> str:
        """The accuracy of a fitted direction, if it was measured."""
        found = self._measured(attribute)
        if found is None:
            return ""
        accuracy, chance = found
        return (
            f"told apart in {accuracy:.0%} of the images that were not fitted, "
            f"by guessing in {chance:.0%}"
        )

    def _is_weak(self, attribute: str) -> bool:
        """Whether a direction was fitted and tells no more than guessing does."""
        found = self._measured(attribute)
        return found is not None and found[0] <= found[1]

    def _measured(self, attribute: str) -> tuple[float, float] | None:
        """Accuracy and chance on images that were not fitted, if they were measured."""
        found = self.attributes.about.get("attributes", {}).get(attribute, {})
        if not {"accuracy", "chance"} <= found.keys():
            return None
        return float(found["accuracy"]), float(found["chance"])

    def encode(self, x: Tensor) -> Tensor:
        """The styles of images.  [N, C, R, R] in [-1, 1] -> [N, W]"""
        return self.m.encode(x)

    def refine(self, x: Tensor, steps: int, report: Callable[[int], None]) -> Refined:
        """A style that is closer to an image than E's.  [C, R, R] in [-1, 1]"""
        return self.m.refine(x[None], steps, report=report)

    def tune(self, x: Tensor, w: Tensor, steps: int, report: Callable[[int], None]) -> Tuned:
        """What to add to G for it to draw an image from its refined style.

        [C, R, R] in [-1, 1], [1, L, W]
        """
        return self.m.tune(x[None], w, steps, report=report)

    def tuned(self, tuning: Tuning) -> Brush:
        """What paints with a tuned G.

        Raises:
            ConfigError: it was tuned for another G.
        """
        return Brush.of(self.m.tuned(tuning))

    def require(self, recipe: Recipe) -> None:
        """Refuses what this model has no slider for.

        Raises:
            ConfigError: it names the first.
        """
        sliders = {name for d in self._known for name in d.names}
        bands = {band.name for band in self.bands}
        for what, strange in (
            ("slider", set(recipe.amounts) - sliders), ("band", set(recipe.mix) - bands),
        ):  # fmt: skip
            if strange:
                raise ConfigError(f"this model has no {what} {min(strange)!r}: reload the page")

    def compose(self, recipe: Recipe) -> Tensor:
        """The styles of a picture: mixed first, then moved.  -> [1, L, W]"""
        w = self._styles_of(recipe.face)
        if recipe.other is not None:
            w = torch.lerp(w, self._styles_of(recipe.other), self._shares(recipe).to(w))
        self.require(recipe)
        for directions in self._known:
            amounts = {k: v for k, v in recipe.amounts.items() if k in directions.names and v}
            if amounts:
                w = directions.move(w, amounts, self.layers)
        return w

    def paint(self, recipe: Recipe, *, draft: bool = False) -> np.ndarray:
        """The picture of a recipe.  -> uint8 [R, R, 3]

        A draft may be computed in bfloat16, where this machine is quicker at it.
        """
        (picture,) = self.paint_all(self.compose(recipe), noise=recipe.noise, draft=draft)
        return picture

    def paint_all(
        self, w: Tensor, *, noise: bool, draft: bool, brush: Brush | None = None
    ) -> Sequence[np.ndarray]:
        """The pictures of styles, which share G's noise.  [N, L, W] -> uint8 [R, R, 3] each

        They are this model's, or another brush's.
        """
        brush = brush or self._brush
        with self._bfloat16() if draft and self._drafts_help else nullcontext():
            if not noise:
                return list(to_uint8(brush.G(w)))
            m = brush.m
            sources = (rng(0, "studio/grain", 0, m.device) for _ in w)
            pictures = [m.generate(one[None], noise=n) for one, n in zip(w, sources, strict=True)]
            return list(to_uint8(torch.cat(pictures)))

    def _styles_of(self, face: Face) -> Tensor:
        """[1, L, W]"""
        m = self.m
        if face.w is None:
            layered = latents.per_layer(self._seeded(face.seed), self.layers)
            return latents.truncate(layered, m.w_mean, face.truncation)
        width = m.model.w_width
        if face.w.numel() not in (width, self.layers * width):
            raise ConfigError(
                f"a style of {face.w.numel()} numbers is none of this model, which has "
                f"{self.layers} layers of {width}: reload the page and load the face again"
            )
        w = face.w.view(-1, width)  # [1, W] or [L, W]
        return w.expand(self.layers, -1)[None].to(m.device)

    def _shares(self, recipe: Recipe) -> Tensor:
        """Of the second face in every layer.  -> [L, 1]"""
        share = torch.zeros(self.layers, 1)
        for band in self.bands:
            share[band.first : band.last + 1] = recipe.mix.get(band.name, 0.0)
        return share

    def _bfloat16(self) -> AbstractContextManager[None]:
        return torch.autocast(self.m.device.type, torch.bfloat16)

    def _bfloat16_is_quicker(self) -> bool:
        """Measured, as no flag of a processor shows it; this also makes the first picture quick."""
        if self.m.device.type != "cpu":
            return False
        w = latents.per_layer(self.m.w_mean[None, : self.layers], self.layers)
        plain = min(self._seconds(w) for _ in range(2))
        with self._bfloat16():
            return 1.2 * min(self._seconds(w) for _ in range(2)) < plain

    def _seconds(self, w: Tensor) -> float:
        began = time.perf_counter()
        self._brush.G(w)
        return time.perf_counter() - began


def _named(directions: Directions, names: Sequence[str]) -> Directions:
    return replace(directions, names=tuple(names[: len(directions)]))
