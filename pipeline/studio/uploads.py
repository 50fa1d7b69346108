"""An uploaded photo -> the input of E, or a sentence with the reason why not.

C channels, R resolution.
"""

import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from pipeline.data import pixels
from pipeline.data.decoding import decode, losses, open_header
from pipeline.data.sandbox import Sandbox
from pipeline.faces.alignment import align
from pipeline.faces.landmarks import Detector, detector
from stylealae.errors import DataError, UserError

__all__ = [
    "DECODERS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "TYPES",
    "Crop",
    "decoders",
    "read_photo",
    "read_upload",
]

MAX_BYTES = 20 << 20
MAX_PIXELS = 64_000_000  # a phone's 50 megapixels are 8160x6144 or a little more
TOO_LARGE = (
    f"it claims more than {MAX_PIXELS // 10**6} million pixels: save it at "
    f"{math.isqrt(MAX_PIXELS) // 1000 * 1000} pixels a side or fewer"
)
MIN_SIDE = 16
DECODERS, DECODE_S, DECODE_MIB = 2, 10.0, 2048
"""Photos that are decoded at the same time, and what each may take."""
PLAIN = 2.0  # standard deviation, of 256 values
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "HEIF")
TYPES = [
    f"image/{kind}"
    for kind in ("jpeg", "jpg", "png", "webp", "bmp", "x-ms-bmp", "gif", "tiff", "heic", "heif")
]
"""The same as browsers name them."""
UNREAD = "it is no image that can be read here: use JPEG, PNG or WebP"


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A square of an upright photo, in shares of its width, height and shorter side."""

    left: float
    top: float
    side: float

    @classmethod
    def parsed(cls, given: Mapping[str, str]) -> "Crop | None":
        """The crop of a query string; None if it names none.

        Raises:
            DataError: its numbers are none.
        """
        if "side" not in given:
            return None
        try:
            crop = cls(
                left=float(given["left"]), top=float(given["top"]), side=float(given["side"])
            )
        except (KeyError, ValueError) as error:
            raise DataError("the crop could not be read: load the photo again") from error
        if not (0 <= crop.left <= 1 and 0 <= crop.top <= 1 and 0 < crop.side <= 1):  # NaN too
            raise DataError("the crop lies outside of the photo: load the photo again")
        return crop

    def of(self, image: pixels.Pixels) -> pixels.Pixels:
        """[H, W, C] -> [S, S, C]"""
        height, width, _ = image.shape
        side = max(1, round(self.side * min(height, width)))
        top = min(round(self.top * height), height - side)
        left = min(round(self.left * width), width - side)
        return image[top : top + side, left : left + side]


def decoders(*, started: bool = False) -> Sandbox:
    """Processes that decode photos; their start takes seconds, which other work may overlap."""
    found = Sandbox(DECODERS, limit_s=DECODE_S, memory_mib=DECODE_MIB)

    def start() -> None:
        with suppress(UserError):  # the first photo is told, if it fails again
            found.do(_ready)

    for _ in range(DECODERS if started else 0):
        threading.Thread(target=start, daemon=True).start()
    return found


def _ready() -> None:
    """Does nothing: a process that is asked for it has what reads photos."""


def read_upload(
    data: bytes, resolution: int, channels: int, crop: Crop | None, find: str
) -> tuple[pixels.Pixels, tuple[str, ...]]:
    """As `read_photo`, of what can be sent to another process: a detector by NAME:FILE."""
    return read_photo(data, resolution, channels, crop, _detector(find) if find else None)


_detector = cache(detector)
"""Loaded once a process."""


def read_photo(
    data: bytes,
    resolution: int,
    channels: int,
    crop: Crop | None = None,
    find: Detector | None = None,
) -> tuple[pixels.Pixels, tuple[str, ...]]:
    """[C, R, R] uint8, shrunk as `stylealae prepare` does it, and notes for the user.

    Without a crop, a detector's largest face is cut out as FFHQ's are; without either, the middle.

    Raises:
        DataError: it is no photo, or not one that can be used.
    """
    _check(data)
    image, changes = decode(data, channels)
    if min(image.shape[:2]) < MIN_SIDE:
        raise DataError(
            f"it has only {image.shape[1]}x{image.shape[0]} pixels: use one of {MIN_SIDE}x"
            f"{MIN_SIDE} or more"
        )
    notes = [f"Of this file: {loss}." for loss in losses(changes)]
    faces = find(image) if find is not None and crop is None and channels == 3 else ()
    if crop is not None:
        image = crop.of(image)
    elif faces:
        notes.append("It was turned and cropped by its eyes and mouth.")
        if len(faces) > 1:
            notes.append(f"{len(faces)} faces were found: the largest was taken.")
        image = align(image, faces[0], resolution)
    elif image.shape[0] != image.shape[1]:
        notes.append("The middle of the photo was taken.")
    if find is not None and crop is None and not faces:
        notes.append("No face was found in it: crop it by hand.")
    side = min(image.shape[:2])
    if side < resolution:
        notes.append(f"It has {side}×{side} pixels, the model works at {resolution}×{resolution}: "  # noqa: RUF001
                     "it was enlarged, and fine detail is the model's own.")  # fmt: skip
    planes, _ = pixels.square(image, resolution)
    made = pixels.pyramid(planes, (resolution,))[resolution]  # [C, R, R]
    if float(made.std()) < PLAIN:
        notes.append("It is nearly of one colour: there is no face to be seen in it.")
    return made, tuple(notes)


def _check(data: bytes) -> None:
    """Refuses by the first bytes, before a pixel is decoded."""
    if not data:
        raise DataError("the file is empty: choose a photo")
    if len(data) > MAX_BYTES:
        raise DataError(f"it has more than {MAX_BYTES >> 20} MB: save a smaller one")
    image, _, _ = open_header(data)
    if image.format not in FORMATS:
        raise DataError(UNREAD)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(TOO_LARGE)
