"""Aligning faces: the square is FFHQ's, and real crops made elsewhere are met."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli.app import main
from pipeline.data.pixels import Pixels
from pipeline.data.sources.left_aside import LeftAside
from pipeline.faces.alignment import align, square_of
from pipeline.faces.landmarks import Points, detector, read_points, read_table
from pipeline.faces.photos import landmarks_of, photos_of
from stylealae.errors import DataError
from tests.shared_data import LONDON, needs

CASES = Path(__file__).resolve().parents[2] / "cases"
FACE = [[40.0, 50.0], [60.0, 50.0], [42.0, 75.0], [58.0, 75.0]]


def points(*pairs: list[float]) -> Points:
    return Points.of(np.asarray(pairs or FACE, np.float64))


def moved(face: Points, by: tuple[float, float]) -> Points:
    return Points(*(getattr(face, field.name) + by for field in dataclasses.fields(face)))


def test_the_square_of_an_upright_face():
    square = square_of(points())
    # eyes 20 apart: 4 x 20 = 80; eyes to mouth 25: 3.6 x 25 = 90 is larger; 0.1 x 25 below the eyes
    assert square.side == pytest.approx(90)
    assert np.allclose(square.middle, (50, 52.5))
    assert np.allclose(square.corners, [(5, 7.5), (5, 97.5), (95, 97.5), (95, 7.5)])
    assert np.allclose(square.inside(square.corners, 64), [(0, 0), (0, 64), (64, 64), (64, 0)])


@pytest.mark.parametrize("degrees", [-40, 15, 90])
def test_a_turned_face_comes_out_upright(degrees: float):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright, turned = np.asarray(FACE), (np.asarray(FACE) - 50) @ turn.T + 50
    squares = square_of(points()), square_of(Points.of(turned))
    assert np.allclose(squares[0].inside(upright, 100), squares[1].inside(turned, 100))


def test_marks_come_out_where_the_geometry_says():
    image = np.full((400, 400, 3), 128, np.uint8)
    face = Points.of(np.asarray(FACE) * 3 + 30)
    for spot, colour in ((face.eye_left, (255, 0, 0)), (face.eye_right, (0, 255, 0))):
        cv2.circle(image, (int(spot[0]), int(spot[1])), 6, colour, -1)
    crop = align(image, face, 256)
    wanted = square_of(face).inside(np.stack([face.eye_left, face.eye_right]), 256)
    for channel, (x, y) in enumerate(wanted):
        mark = crop[:, :, channel].astype(int) - crop[:, :, 2] > 64
        found = np.argwhere(mark).mean(0)
        assert np.abs(found - (y, x)).max() < 1.0


def test_what_lies_outside_is_mirrored_and_its_rim_is_one_soft_colour():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (100, 100, 3), dtype=np.uint8)
    crop = align(image, moved(points(), (-30.0, 0.0)), 128)  # 25 of 90 pixels are missing
    assert crop.shape == (128, 128, 3)
    assert crop[20:-20, :6].std() < 0.3 * crop[20:-20, -60:-54].std()
    assert (crop.reshape(-1, 3).min(0) < 60).all()


@pytest.mark.parametrize(
    ("face", "said"),
    [
        ([[50, 50]] * 4, "one spot"),
        ([[60, 75], [40, 75], [60, 50], [40, 50]], ""),  # upside down: a face all the same
        ([[140, 50], [160, 50], [142, 75], [158, 75]], "another photo"),
    ],
)
def test_landmarks_of_no_face(face: list[list[float]], said: str):
    image = np.zeros((100, 100, 3), np.uint8)
    if not said:
        assert align(image, points(*face), 32).shape == (32, 32, 3)
        return
    with pytest.raises(DataError, match=said):
        align(image, points(*face), 32)


def test_landmark_files(tmp_path: Path):
    five = [FACE[0], FACE[1], [50.0, 60.0], FACE[2], FACE[3]]
    whole = [[float(i), float(2 * i)] for i in range(68)]
    for rows in (FACE, five):
        got = read_points("a.json", json.dumps(rows).encode())
        assert np.allclose(got.mouth_right, FACE[3])
    got = read_points("a.json", json.dumps(whole).encode())
    assert np.allclose(got.eye_left, (38.5, 77))
    assert np.allclose(got.mouth_right, (54, 108))
    lines = "\n".join(f"{x + 1} {y + 1}" for x, y in whole)
    pts = f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n".encode()
    assert np.allclose(read_points("a.pts", pts).eye_left, got.eye_left)
    for name, data in (("a.json", b"[[1, 2]]"), ("a.tem", b"5\n1 2"), ("a.pts", b"x"),
                       ("a.json", b'{"a": 1}')):  # fmt: skip
        with pytest.raises(DataError, match="landmarks"):
            read_points(name, data)
    table = tmp_path / "ffhq-dataset-v2.json"
    entry = {"file_path": "in-the-wild-images/00000/00007.png", "face_landmarks": whole}
    table.write_text(json.dumps({"7": {"in_the_wild": entry}, "plain.jpg": FACE}))
    assert set(read_table(table)) == {"00007.png", "plain.jpg"}
    table.write_text("[]")
    with pytest.raises(DataError, match="cannot be read as landmarks"):
        read_table(table)


@pytest.mark.parametrize(
    ("text", "said"),
    [("yunet", "model zoo"), ("yunet:nothing.onnx", "model zoo"), ("magic:x", "known are yunet")],
)
def test_a_detector_without_weights_is_a_sentence(text: str, said: str):
    with pytest.raises(DataError, match=said):
        detector(text)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    (tmp_path / "w.onnx").write_bytes(b"no network")
    with pytest.raises(DataError, match="cannot be used as YuNet's weights"):
        detector(f"yunet:{tmp_path / 'w.onnx'}")


def london() -> dict[str, bytes]:
    with tarfile.open(LONDON) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if "labels" not in m.name}  # type: ignore[union-attr]


def opened(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@needs(LONDON)
def test_real_photos_are_cut_as_the_crops_that_came_with_them():
    files = london()
    originals = sorted(name for name in files if name.endswith(".tem"))
    assert len(originals) == 4
    for name in (originals[0], originals[3]):
        face = read_points(name, files[name])
        got = align(opened(files[name.replace(".tem", ".jpg")]), face, 1024)
        number = name.rpartition("/")[2][:3]
        want = opened(files[f"london1024/{number}_neutral.jpg"])
        error = np.square(got.astype(float) - want).mean()
        assert 10 * np.log10(255**2 / error) > 43  # the crops are JPEGs of quality 95
        pupils = square_of(face).inside(np.stack([face.eye_left, face.eye_right]), 1024)
        for x, y in pupils.astype(int):
            parts = [cv2.cvtColor(a[y - 64 : y + 64, x - 64 : x + 64], cv2.COLOR_RGB2GRAY)
                     for a in (got, want)]  # fmt: skip
            (dx, dy), sure = cv2.phaseCorrelate(*(part.astype(np.float64) for part in parts))
            assert max(abs(dx), abs(dy)) < 0.25
            assert sure > 0.8


def test_photos_of_one_name_become_two_crops(tmp_path: Path):
    two = [str(CASES / "align" / "al" / folder / "me.jpg") for folder in "ab"]
    folders = [str(Path(photo).parent) for photo in two]
    for number, given in enumerate((two, [str(CASES / "align" / "al")], folders)):
        out = tmp_path / str(number)
        result = CliRunner().invoke(main, ["align", *given, "--size", "32", "--out", str(out)])
        assert result.exit_code == 0, result.output
        made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
        assert made == ["a/me.png", "b/me.png"]
        assert '"aligned": 2' in result.output
        assert '"left_aside": 0' in result.output


def test_photos_that_would_be_one_crop_are_refused_before_anything_is_written(tmp_path: Path):
    photo = CASES / "align" / "al" / "a" / "me.jpg"
    (tmp_path / "in").mkdir()
    for name in ("me.jpg", "me.png", "me.json", "notes.txt"):
        source = photo.with_suffix(".json") if name.endswith("json") else photo
        (tmp_path / "in" / name).write_bytes(source.read_bytes())
    for given in ([tmp_path / "in"], [photo, photo]):
        command = ["align", *map(str, given), "--out", str(tmp_path / "out"), "--size", "32"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert "would be one crop" in result.output
        assert not (tmp_path / "out").exists()
    (tmp_path / "in" / "me.jpg").unlink()
    given = ["align", str(tmp_path / "in"), "--out", str(tmp_path / "in"), "--size", "32"]
    result = CliRunner().invoke(main, given)
    assert "me.png lies among the photos and would be replaced by a crop" in result.output
    (tmp_path / "in" / "me.png").rename(tmp_path / "in" / "me.jpg")
    (tmp_path / "in" / "me.png").write_bytes(b"another picture")
    given = ["align", str(tmp_path / "in" / "me.jpg"), "--out", str(tmp_path / "in")]
    assert "would be replaced" in CliRunner().invoke(main, given).output
    assert (tmp_path / "in" / "me.png").read_bytes() == b"another picture"
    (tmp_path / "in" / "me.png").unlink()
    result = CliRunner().invoke(main, [*command[:1], str(tmp_path / "in"), *command[3:]])
    assert '"left_aside": 1' in result.output


def test_a_table_of_landmarks_means_one_photo_by_a_name(tmp_path: Path):
    folder = CASES / "align" / "al"
    named = list(photos_of([folder], LeftAside()))
    found = landmarks_of(named, {"a/me.jpg": points(*FACE), "elsewhere.jpg": points(*FACE)})
    assert list(found) == ["a/me.jpg"]
    alone = photos_of([folder / "a" / "me.jpg"], LeftAside())
    assert list(landmarks_of(alone, {"a/me.jpg": points(*FACE)})) == ["me.jpg"]
    with pytest.raises(DataError, match=r"me\.jpg is the name of 2 images"):
        landmarks_of(named, {"me.jpg": points(*FACE)})
    with pytest.raises(DataError, match="names none of the 2 photos"):
        landmarks_of(named, {"you.jpg": points(*FACE)})


def test_photos_of_a_tar_may_be_named_from_its_folder(tmp_path: Path):
    """As `tar -cf photos.tar .` names them."""
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(CASES / "align" / "al" / "a", ".")
    command = ["align", str(tmp_path / "photos.tar"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*command, "--size", "32"])
    assert '"aligned": 1, "refused": 0, "left_aside": 0' in result.output
    assert (tmp_path / "out" / "me.png").is_file()


def test_landmarks_may_be_called_in_capitals_and_what_is_not_shown_is_said(tmp_path: Path, caplog):
    image = Image.open(CASES / "align" / "al" / "a" / "me.jpg")
    image.save(tmp_path / "ME.PNG", save_all=True, append_images=[image.rotate(90)])
    (tmp_path / "ME.JSON").write_bytes((CASES / "align" / "al" / "a" / "me.json").read_bytes())
    command = ["align", str(tmp_path), "--out", str(tmp_path / "out"), "--size", "32"]
    result = CliRunner().invoke(main, command)
    assert '"aligned": 1, "refused": 0, "left_aside": 0' in result.output
    assert "of 1 photos: first of several frames" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        f'{{"a.jpg": {FACE}, "a.jpg": {FACE[::-1]}}}',
        json.dumps({k: {"file_path": f"{k}/me.jpg", "face_landmarks": FACE} for k in "ab"}),
    ],
)
def test_two_faces_of_one_name_in_a_table_are_refused(text: str, tmp_path: Path):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError, match=r"stands twice|two photos named me\.jpg"):
        read_table(tmp_path / "t.json")
