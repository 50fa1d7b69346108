"""Colours as an ICC profile means them -> sRGB, by LittleCMS with the perceptual intent.

An image without a profile is taken as it is, and so is one whose profile is sRGB's: not a byte of
it changes.
"""

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from pipeline.data.mending import LOST_PROFILE

__all__ = ["to_srgb"]

TOLERANCE = 2
"""Of 255: the many editions of sRGB's profile differ by less among themselves."""
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Colour spaces of profiles, and the modes of the images that they describe."""


@dataclass(frozen=True)
class _Profile:
    """What is to be done for a profile."""

    mode: str
    """The mode of the images that it describes."""
    change: str
    """How the conversion is called."""
    transform: ImageCms.ImageCmsTransform | None
    """To sRGB; None where nothing would change."""


def to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, tuple[str, ...]]:
    """An image of mode L, RGB or CMYK as sRGB, and the conversion that this took.

    A profile that cannot be used leaves the image as it is, and is said.
    """
    if not icc:
        return image, ()
    profile = _profile(icc)
    if profile is None:
        return image, (LOST_PROFILE,)
    if profile.mode != image.mode:
        return image, ("ICC profile of another colour space left out",)
    if profile.transform is None:
        return image, ()
    converted = ImageCms.applyTransform(image, profile.transform)
    assert converted is not None  # it is None only for a conversion in place
    return converted, (profile.change,)


@lru_cache(maxsize=64)
def _profile(icc: bytes) -> _Profile | None:
    """The profile; None if it cannot be read."""
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode = _SPACES.get(found.profile.xcolor_space.strip(), "")
        if not mode:
            return _Profile("", "", None)
        transform = ImageCms.buildTransform(
            found, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
        )
        name = (found.profile.profile_description or "another profile").strip()[:40]
    except Exception:  # LittleCMS and Pillow raise many kinds for a damaged profile
        return None
    return _Profile(mode, f"{name} to sRGB", None if _is_srgb(mode, transform) else transform)


def _is_srgb(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether colours of all parts of the space stay what they are."""
    if mode == "CMYK":
        return False
    steps = np.linspace(0, 255, 9 if mode == "RGB" else 256).astype(np.uint8)
    before = (
        np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 9, 3)
        if mode == "RGB"
        else steps[None]
    )
    after = ImageCms.applyTransform(Image.fromarray(before), transform)
    gap = np.asarray(after, np.int16) - before.reshape(*before.shape[:2], -1)
    return int(np.abs(gap).max()) <= TOLERANCE
