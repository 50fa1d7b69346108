"""dlib's detector, landmarks and recogniser, from the extra `faces`: dlib's one home.

The files come with the package face-recognition-models and are known by their hashes.

H height, W width of an image
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixels import Pixels
from stylealae.errors import ConfigError
from stylealae.file_hash import sha256_of

if TYPE_CHECKING:
    import dlib

__all__ = ["EXTRA", "LANDMARKS", "FaceFinder", "Recogniser", "enlarged", "installed"]
__all__ += ["landmark_points", "model_file"]

EXTRA = "pip install 'stylealae[faces]'"
LANDMARKS, EYES, RECOGNISER = (
    "shape_predictor_68_face_landmarks.dat",
    "shape_predictor_5_face_landmarks.dat",
    "dlib_face_recognition_resnet_model_v1.dat",
)
SHA256 = {
    LANDMARKS: "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    EYES: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    RECOGNISER: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
}
"""What the files must hash to."""
LOOKED_AT_PX = 1024
"""Larger photos are looked at in this size: the detector finds faces from 80 pixels up."""
RECOGNISED_AT_PX = 256
"""Smaller images are enlarged to it."""
Array = NDArray[np.float64]


def installed() -> bool:
    """Whether the extra is there."""
    return all(find_spec(name) is not None for name in ("dlib", "face_recognition_models"))


def model_file(name: str) -> Path:
    """A file of the extra, checked.

    Raises:
        ConfigError: the extra is missing, or the file is another one.
    """
    spec = find_spec("face_recognition_models")  # found, not imported: it wants pkg_resources
    if spec is None or not spec.submodule_search_locations or not installed():
        raise ConfigError(f"faces are found and recognised with an extra: {EXTRA}")
    path = Path(spec.submodule_search_locations[0]) / "models" / name
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): {EXTRA}") from error
    if found != SHA256[name]:
        raise ConfigError(
            f"{path} has sha256 {found}, and {SHA256[name]} is wanted: install the version of "
            "face-recognition-models that constraints.txt names"
        )
    return path


class FaceFinder:
    """Frontal faces in photos, and landmarks of each, by the file of a shape predictor."""

    def __init__(self, landmarks: Path) -> None:
        """Reads the file.

        Raises:
            ConfigError: dlib is missing, or the file is none of its.
        """
        try:
            import dlib
        except ImportError as error:
            raise ConfigError(f"dlib is not installed: {EXTRA}") from error
        self._boxes_in = dlib.get_frontal_face_detector()
        self._box = dlib.rectangle
        try:
            self._shape_in = dlib.shape_predictor(str(landmarks))
        except RuntimeError as error:
            raise ConfigError(
                f"{landmarks} cannot be used as dlib's landmarks ({error})"
            ) from error

    def __call__(self, image: Pixels) -> "list[dlib.full_object_detection]":
        """The faces, the largest first.  [H, W, 3] -> each with its landmarks"""
        shrink = max(1.0, max(image.shape[:2]) / LOOKED_AT_PX)
        size = tuple(max(1, round(side / shrink)) for side in image.shape[1::-1])
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if shrink > 1 else image
        found = self._boxes_in(small, 0) or self._boxes_in(small, 1)  # of 80 pixels, then of 40
        boxes = sorted(found, key=lambda box: -box.area())
        sides = (
            [round(shrink * side) for side in (box.left(), box.top(), box.right(), box.bottom())]
            for box in boxes
        )
        return [self._shape_in(image, self._box(*four)) for four in sides]


def enlarged(image: Pixels) -> Pixels:
    """A small image at the size that faces are recognised in.  [H, W, 3] -> [H', W', 3]"""
    larger = RECOGNISED_AT_PX / min(image.shape[:2])
    if larger <= 1:
        return image
    size = (round(image.shape[1] * larger), round(image.shape[0] * larger))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))


class Recogniser:
    """Who is seen, as 128 numbers: two images of one person are nearer than 0.6, as a rule."""

    width = 128
    same = 0.6
    """Distance below which two faces are taken for one person's (its author's threshold)."""

    def __init__(self) -> None:
        """Reads the files of the extra.

        Raises:
            ConfigError: the extra is missing, or its files are others.
        """
        files = [model_file(name) for name in (EYES, RECOGNISER)]
        import dlib

        self._faces_in = FaceFinder(files[0])
        self._describe = dlib.face_recognition_model_v1(str(files[1])).compute_face_descriptor

    def face(self, image: Pixels) -> "dlib.full_object_detection | None":
        """The largest face of an image.  [H, W, 3]"""
        return next(iter(self._faces_in(image)), None)

    def describe(self, image: Pixels, face: "dlib.full_object_detection") -> Array:
        """The face that lies there in an image.  [H, W, 3] -> [128]"""
        found: Array = np.asarray(self._describe(image, face), np.float64)
        return found


def landmark_points(face: "dlib.full_object_detection") -> Array:
    """-> [n, 2]"""
    return np.asarray([(p.x, p.y) for p in face.parts()], np.float64)
