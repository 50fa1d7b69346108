"""Where the eyes and the mouth of a photo are: read from a file, or found by a detector.

Left and right are the picture's. Coordinates are pixels, x to the right and y down, from 0.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.data.pixels import Pixels
from pipeline.data.sources.json_tables import distinct
from pipeline.faces import dlib_models
from stylealae.errors import DataError

__all__ = ["DETECTORS", "SUFFIXES", "Points", "detector", "read_points", "read_table"]
__all__ += ["usual_detector"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Points:
    """The four points that a crop is made from, [2] each."""

    eye_left: Array
    eye_right: Array
    mouth_left: Array
    mouth_right: Array

    @classmethod
    def of(cls, points: Array) -> "Points":
        """From the landmarks of a known scheme, which their number shows.  [n, 2]

        Raises:
            DataError: the scheme is not known.
        """
        if points.ndim != 2 or points.shape[1] != 2 or len(points) not in SCHEMES:
            known = ", ".join(f"{n} ({said})" for n, (said, _) in SCHEMES.items())
            raise DataError(f"it has landmarks of shape {list(points.shape)}; known are {known}")
        if not np.isfinite(points).all():
            raise DataError("some of its landmarks are no finite numbers")
        return cls(*(points[rows].mean(0) for rows in SCHEMES[len(points)][1]))


SCHEMES: dict[int, tuple[str, tuple[Sequence[int], ...]]] = {
    4: ("eyes, mouth corners", ([0], [1], [2], [3])),
    5: ("eyes, nose, mouth corners", ([0], [1], [3], [4])),
    68: ("iBUG, dlib, FFHQ", (range(36, 42), range(42, 48), [48], [54])),
    189: ("WebMorph", ([0], [1], [87], [93])),
}
"""Number of landmarks -> whose they are, and which are left eye, right eye, mouth corners."""


def read_points(name: str, data: bytes) -> Points:
    """The landmarks of one photo: a .tem of WebMorph, a .pts of iBUG, or a .json list of pairs."""
    try:
        text = data.decode()
        if name.endswith(".tem"):
            lines = text.split("\n")
            rows = [[float(v) for v in line.split()] for line in lines[1 : 1 + int(lines[0])]]
        elif name.endswith(".pts"):
            inside = text[text.index("{") + 1 : text.index("}")]
            rows = [[float(v) - 1 for v in line.split()] for line in inside.strip().splitlines()]
        else:
            rows = json.loads(text)
        return Points.of(np.asarray(rows, dtype=np.float64))
    except ODD as error:
        raise DataError(f"{name} holds no landmarks ({error})") from error
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


ODD = (ValueError, TypeError, LookupError, RecursionError)
"""What a file of landmarks that holds something else ends in."""
SUFFIXES = (".tem", ".pts", ".json")
"""Files of landmarks beside a photo, by its name with another ending."""


def read_table(path: Path) -> dict[str, Points]:
    """The landmarks of many photos by file name: ffhq-dataset-v2.json, or {name: [[x, y], ...]}."""
    try:
        found = json.loads(path.read_text(), object_pairs_hook=distinct)
        table: dict[str, Points] = {}
        for key, entry in found.items():
            if isinstance(entry, Mapping):
                part = entry.get("in_the_wild", entry)
                key = PurePosixPath(part.get("file_path", key)).name
                entry = part["face_landmarks"]
            if key in table:
                raise DataError(f"it has two photos named {key}")
            table[key] = Points.of(np.asarray(entry, dtype=np.float64))
    except (*ODD, OSError, AttributeError, DataError) as error:
        raise DataError(
            f"{path} cannot be read as landmarks ({error}): give ffhq-dataset-v2.json, or "
            '{"photo.jpg": [[x, y], ...]}'
        ) from error
    if not table:
        raise DataError(f"{path} names no photo")
    return table


Detector = Callable[[Pixels], Sequence[Points]]
"""[H, W, 3] -> the faces found, the largest first."""


def detector(text: str) -> Detector:
    """`dlib` of the extra `faces`, or with a file of weights, `yunet:model.onnx` say.

    Raises:
        DataError: there is no such detector, or its package or file is missing.
    """
    name, _, file = text.partition(":")
    if name not in DETECTORS:
        raise DataError(f"there is no detector {name!r}: known are {', '.join(DETECTORS)}")
    if text == "dlib":
        return _dlib(str(dlib_models.model_file(dlib_models.LANDMARKS)))
    if not file or not Path(file).is_file():
        raise DataError(
            f"--detector {text} names no file of weights: {DETECTORS[name].__doc__} Nothing is "
            "downloaded here; fetch it, then write "
            f"--detector {name}:PATH"
        )
    return DETECTORS[name](file)


def usual_detector() -> str:
    """What `detector` takes when nobody names one: that of the extra `faces`, if it is there."""
    return "dlib" if dlib_models.installed() else ""


def _yunet(file: str) -> Detector:
    """It wants OpenCV's face_detection_yunet_2023mar.onnx of its model zoo."""
    try:
        net = cv2.FaceDetectorYN.create(file, "", (320, 320), 0.7)
    except cv2.error as error:
        raise DataError(f"{file} cannot be used as YuNet's weights ({error.err})") from error

    def find(image: Pixels) -> list[Points]:
        net.setInputSize((image.shape[1], image.shape[0]))
        _, faces = net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        found = [] if faces is None else sorted(faces, key=lambda f: -f[2] * f[3])
        return [Points.of(np.asarray(f[4:14], np.float64).reshape(5, 2)) for f in found]

    return find


def _dlib(file: str) -> Detector:
    """It wants shape_predictor_68_face_landmarks.dat, with which FFHQ was made."""
    faces_in = dlib_models.FaceFinder(Path(file))

    def find(image: Pixels) -> list[Points]:
        return [Points.of(dlib_models.landmark_points(face)) for face in faces_in(image)]

    return find


DETECTORS: dict[str, Callable[[str], Detector]] = {"yunet": _yunet, "dlib": _dlib}
"""What finds faces, by name: each takes the file of its weights."""
