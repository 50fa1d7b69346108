"""Faces by the extra `faces`: its landmarks are near those set by hand, its files are the known."""

import io
import shutil
import tarfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.pixels import Pixels
from pipeline.faces import dlib_models
from pipeline.faces.alignment import square_of
from pipeline.faces.landmarks import detector, read_points, usual_detector
from stylealae.errors import ConfigError
from tests.shared_data import LONDON, needs

extra = pytest.mark.skipif(not dlib_models.installed(), reason="needs the extra faces")
FOLDER = "london1024/unaligned1350"


def london(*names: str) -> list[bytes]:
    with tarfile.open(LONDON) as tar:
        return [tar.extractfile(name).read() for name in names]  # type: ignore[union-attr]


def opened(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@extra
@needs(LONDON)
def test_landmarks_are_near_those_set_by_hand():
    assert usual_detector() == "dlib"
    find = detector("dlib")
    for number in ("003", "022"):
        photo, template = london(f"{FOLDER}/{number}_03.jpg", f"{FOLDER}/{number}_03.tem")
        by_hand = read_points("a.tem", template)
        (found,) = find(opened(photo))
        apart = np.hypot(*(by_hand.eye_right - by_hand.eye_left))
        for field in fields(found):
            error = np.hypot(*(getattr(found, field.name) - getattr(by_hand, field.name)))
            assert error < 0.08 * apart, field.name
        squares = square_of(found), square_of(by_hand)
        assert squares[0].side == pytest.approx(squares[1].side, rel=0.06)
        assert np.hypot(*(squares[0].middle - squares[1].middle)) < 0.03 * squares[1].side


@extra
@needs(LONDON)
def test_a_folder_of_photos_becomes_crops_by_one_command(tmp_path: Path):
    (photo,) = london(f"{FOLDER}/021_03.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/me.jpg").write_bytes(photo)
    (tmp_path / "in/me.json").write_text('{"url": "what img2dataset leaves beside it"}')
    Image.new("RGB", (300, 200), "navy").save(tmp_path / "in/sea.png")
    Image.new("RGB", (5000, 2), "navy").save(tmp_path / "in/stripe.png")
    command = ["align", str(tmp_path / "in"), "--size", "128", "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["me.png"]
    assert '"refused": 2' in shown.output
    crop = np.asarray(Image.open(tmp_path / "out/me.png"))
    (again,) = detector("dlib")(dlib_models.enlarged(crop))
    assert np.allclose(again.eye_left / 256, (0.375, 0.48), atol=0.03)  # where FFHQ has it


@extra
@needs(LONDON)
def test_one_person_is_nearer_than_another_and_small_images_do():
    me, other = london("london1024/003_neutral.jpg", "london1024/006_neutral.jpg")
    who = dlib_models.Recogniser()
    small = [
        dlib_models.enlarged(np.asarray(Image.fromarray(opened(data)).resize((64, 64))))
        for data in (me, other)
    ]
    images = [opened(me), *small]
    faces = [who.face(image) for image in images]
    assert None not in faces
    codes = [who.describe(i, f) for i, f in zip(images, faces, strict=True) if f is not None]
    assert codes[0].shape == (who.width,)
    assert np.linalg.norm(codes[0] - codes[1]) < who.same < np.linalg.norm(codes[0] - codes[2])


@extra
def test_a_file_of_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(dlib_models.SHA256, dlib_models.EYES, "0" * 64)
    with pytest.raises(ConfigError, match=r"and 0{64} is wanted: install the version of"):
        dlib_models.model_file(dlib_models.EYES)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(dlib_models, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'stylealae\[faces\]'"):
        detector("dlib")
    assert usual_detector() == ""
    source = Path(__file__).resolve().parents[2] / "cases/align/al/a/me.jpg"
    shutil.copy(source, tmp_path / "me.jpg")  # without its landmarks
    command = ["align", str(tmp_path / "me.jpg"), "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 1
    assert "have its face found (pip install 'stylealae[faces]')" in shown.output
