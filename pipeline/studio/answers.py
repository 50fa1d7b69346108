"""What the studio answers, several questions at once, as bytes for the page.

Legend: N questions, L layers of G, W width of w, C channels, R resolution.
"""

import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.studio.recipe import Recipe, packed
from pipeline.studio.studio import Studio
from pipeline.studio.tunings import Tunings
from stylealae.errors import ConfigError, UserError

__all__ = ["Answers", "Kept", "png"]

KEPT_BYTES = 32 << 20


class Answers:
    """The studio's answers to what waits together; one of them may be what is wrong."""

    def __init__(self, studio: Studio, tunings: Tunings) -> None:
        self._studio, self._tunings = studio, tunings

    def pictures(self, recipes: Sequence[Recipe]) -> list[bytes | UserError]:
        """PNGs."""
        return self._painted(recipes, draft=False)

    def drafts(self, recipes: Sequence[Recipe]) -> list[bytes | UserError]:
        """JPEGs, computed quicker where this machine can."""
        return self._painted(recipes, draft=True)

    def styles(self, recipes: Sequence[Recipe]) -> list[bytes | UserError]:
        """The styles that G is given, as .npy of float32 [L, W]."""
        found = (self._composed(recipe) for recipe in recipes)
        return [w if isinstance(w, UserError) else _npy(w[0].cpu().numpy()) for w in found]

    def encoded(self, images: Sequence[Tensor]) -> list[str]:
        """E's styles of images, packed.  [C, R, R] in [-1, 1] each"""
        return [packed(w) for w in self._studio.encode(torch.stack(list(images)))]

    def _painted(self, recipes: Sequence[Recipe], *, draft: bool) -> list[bytes | UserError]:
        """The same recipe of seeds is painted once; those of one generator and noise together."""
        keys: list[object] = [r.address or k for k, r in enumerate(recipes)]
        groups: dict[tuple[bool, str], dict[object, Recipe]] = {}
        for key, recipe in zip(keys, recipes, strict=True):
            groups.setdefault((recipe.noise, recipe.face.tuned), {})[key] = recipe
        made: dict[object, bytes | UserError] = {}
        for (noise, tuned), asked in groups.items():
            made |= self._painted_alike(asked, noise=noise, tuned=tuned, draft=draft)
        return [made[key] for key in keys]

    def _painted_alike(
        self, recipes: Mapping[object, Recipe], *, noise: bool, tuned: str, draft: bool
    ) -> dict[object, bytes | UserError]:
        try:
            brush = self._tunings.brush(tuned) if tuned else None
        except UserError as error:
            return dict.fromkeys(recipes, error)
        composed = {key: self._composed(recipe) for key, recipe in recipes.items()}
        styles = {key: w for key, w in composed.items() if isinstance(w, Tensor)}
        made: dict[object, bytes | UserError] = {
            key: error for key, error in composed.items() if isinstance(error, UserError)
        }
        if styles:
            w = torch.cat(list(styles.values()))  # [N, L, W]
            pictures = self._studio.paint_all(w, noise=noise, draft=draft, brush=brush)
            encode = _jpeg if draft else png
            made |= {key: encode(x) for key, x in zip(styles, pictures, strict=True)}
        return made

    def _composed(self, recipe: Recipe) -> Tensor | ConfigError:
        """[1, L, W]"""
        try:
            return self._studio.compose(recipe)
        except ConfigError as error:
            return error


class Kept:
    """Pictures by address, the last that were asked for, in bounded memory."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most, self._held = most, 0
        self._pictures: OrderedDict[str, bytes] = OrderedDict()

    def get(self, address: str) -> bytes | None:
        """The picture that was kept there; None of an empty address."""
        found = self._pictures.get(address)
        if found is not None:
            self._pictures.move_to_end(address)
        return found

    def keep(self, address: str, picture: bytes) -> None:
        """Keeps a picture, unless its address is empty; the one longest unasked for goes."""
        if not address or address in self._pictures or len(picture) > self._most:
            return
        self._pictures[address] = picture
        self._held += len(picture)
        while self._held > self._most:
            self._held -= len(self._pictures.popitem(last=False)[1])


def png(picture: np.ndarray) -> bytes:
    """uint8 [R, R, 3] -> PNG"""
    return _encoded(picture, "PNG", compress_level=3)


def _jpeg(picture: np.ndarray) -> bytes:
    return _encoded(picture, "JPEG", quality=92, subsampling=0)


def _encoded(picture: np.ndarray, form: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **how)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
