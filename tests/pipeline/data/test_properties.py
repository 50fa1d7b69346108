"""Whatever bytes come: a result that makes sense, or the project's own error with a sentence."""

import copy
import csv
import io
import json
import math
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import decoding
from pipeline.data.decoding import decode
from pipeline.data.format.index import Index, index_tail
from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.loader.shuffle import Shuffle
from pipeline.data.sources.labels import labels_of
from pipeline.data.sources.names import Names
from pipeline.data.sources.records import features
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.tables import read_sheet
from stylealae.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
tried = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault
)  # fmt: skip
T = TypeVar("T")
LETTERS = "ab01.,;|/\\\t\n\r\0\"' -eé\u0301\u2028\ufeff\U0001f600"
IMAGES = ("a.png", "b.png", "sub/a.png", "José.png", "3.png")
BEGINNINGS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP", b""),
    *(b"P6 ", b"\0\0\0\x18ftypheic", b"\0\0\0\x0cjP  ", b"<"),
)
CELLS = st.one_of(
    st.sampled_from(
        [*IMAGES, "", "a", "sub\\a.png", "NaN", "1,5", "1.5", "-3", "1e999", '"', ";", "\n", "\0"]
    ),
    st.text(LETTERS, max_size=6),
)


def outcome(call: Callable[[], T], said: str = "") -> T | None:
    """What the call gives back, or None after the project's own error with a sentence."""
    try:
        return call()
    except DataError as error:
        sentence = str(error)
    assert said in sentence
    assert len(sentence) > 10
    return None


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with a few of them changed, and perhaps cut."""
    places = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))

    def changed(at: list[tuple[int, int]], end: int) -> bytes:
        data = bytearray(whole)
        for place, value in at:
            data[place] = value
        return bytes(data[:end])

    ends = st.one_of(st.just(len(whole)), st.integers(0, len(whole)))
    return st.builds(changed, st.lists(places, max_size=4), ends)


@tried
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    coding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_table_is_labels_or_a_sentence(
    rows: list[list[str]], delimiter: str, coding: str, end: str
) -> None:
    text = end.join(delimiter.join(row) for row in rows)
    check_table(text.encode(coding, "replace"))


@tried
@given(st.one_of(st.binary(max_size=60), damaged(b'{"file_name": "a.png", "age": 1}\n' * 2)))
def test_any_bytes_are_labels_or_a_sentence(data: bytes) -> None:
    check_table(data)


def check_table(data: bytes) -> None:
    found = outcome(lambda: labels_of(read_sheet("t.csv", data), Names(IMAGES, "input")), "t.csv")
    for key, row in found.rows.items() if found else ():
        assert key in IMAGES
        assert len(row) == len(found.names if found else ())
        assert all(
            value is None or (isinstance(value, str) and value) or math.isfinite(float(value))
            for value in row
        )


@tried
@given(
    ages=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
    delimiter=st.sampled_from(",;\t|"),
    comma=st.booleans(),
)
def test_numbers_are_read_as_they_were_written(
    ages: list[float], delimiter: str, comma: bool
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(["file", "age"])
    written = [f"{age:.2f}" for age in ages]  # two digits are no group of thousands
    rows = [text.replace(".", ",") for text in written] if comma else written
    writer.writerows(zip(IMAGES, rows, strict=False))
    found = labels_of(read_sheet("t.csv", file.getvalue().encode()), Names(IMAGES, "input"))
    assert found is not None
    assert [found.rows[key] for key in IMAGES[: len(ages)]] == [(float(t),) for t in written]


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A header that claims more than 100,000 pixels is refused: none of them is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "MAX_PIXELS", 100_000)
        yield


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA"])
def test_any_damage_to_an_image_is_pixels_or_a_sentence(kind: str) -> None:
    whole = saved(kind)

    @tried
    @given(data=damaged(whole), channels=st.sampled_from([1, 3]))
    def check(data: bytes, channels: int) -> None:
        check_image(data, channels)

    check()


@tried
@given(
    start=st.sampled_from(BEGINNINGS),
    rest=st.binary(max_size=80),
)
def test_any_beginning_of_an_image_is_a_sentence(start: bytes, rest: bytes) -> None:
    check_image(start + rest, 3)


def check_image(data: bytes, channels: int) -> None:
    found = outcome(lambda: decode(data, channels))
    if found is None:
        return
    pixels, changes = found
    assert pixels.ndim == 3
    assert pixels.shape[2] == channels
    assert pixels.dtype == np.uint8
    assert all(isinstance(change, str) for change in changes)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(LETTERS, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(LETTERS, max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


def test_any_change_to_a_manifest_is_a_manifest_or_a_sentence(
    dataset: Path, tmp_path: Path
) -> None:
    whole = json.loads((dataset / MANIFEST).read_text())
    places = [(key,) for key in whole] + [
        (key, inner) for key, value in whole.items() if isinstance(value, dict) for inner in value
    ]

    @tried
    @given(st.sampled_from(places), JSON, st.booleans())
    def check(place: tuple[str, ...], value: Any, removed: bool) -> None:
        changed = copy.deepcopy(whole)
        inside = changed if len(place) == 1 else changed[place[0]]
        if removed:
            del inside[place[-1]]
        else:
            inside[place[-1]] = value
        (tmp_path / MANIFEST).write_text(json.dumps(changed))
        found = outcome(lambda: Manifest.read(tmp_path), MANIFEST)
        if found is None:
            return
        assert found.channels in (1, 3)
        assert all(found.samples(split) >= 0 for split in found.splits)
        assert all(isinstance(found.shards[r], str) for r in found.resolutions)
        assert len(found.digest) == 64

    check()


@tried
@given(
    at=st.one_of(st.lists(st.integers(-2, 2**66), max_size=3), JSON),
    samples=st.one_of(st.lists(st.integers(-1, 5), max_size=3), JSON),
    sha256=st.one_of(st.lists(st.text(LETTERS, max_size=2), max_size=3), JSON),
)
def test_any_index_fits_together_or_is_refused(at: Any, samples: Any, sha256: Any) -> None:
    content = json.dumps({"at": at, "samples": samples, "sha256": sha256}).encode()
    info = tarfile.TarInfo("__index__")
    info.size = len(content)
    tail = info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512 + 1024)
    check_index(tail)


@tried
@given(damaged(index_tail([0, 1024, 2048], [2, 3], ["a" * 64, "b" * 64])[:2048]))
def test_any_damage_to_an_index_is_an_index_or_refused(tail: bytes) -> None:
    check_index(tail)


def check_index(tail: bytes) -> None:
    try:
        index = Index.parse("r0004/000000.tar", memoryview(tail), 4096)
    except ValueError:
        return
    assert index.at[-1] == 4096
    assert (np.diff(index.at) >= 0).all()
    assert (np.diff(index.first) >= 0).all()
    assert index.first[0] == 0
    assert len(index.at) == len(index.first) == len(index.sha256) + 1
    for span in range(len(index.sha256)):
        assert index.piece(span).start >= 0


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_any_damage_to_an_archive_is_images_or_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    files = {"a.png": saved("PNG"), "labels.csv": b"file,age\na.png,3\n"}
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    whole = path.read_bytes()[:4096]

    @tried
    @given(damaged(whole))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        source = outcome(lambda: open_source(str(path)))
        for i in range(len(source) if source else 0):
            outcome(lambda i=i: source.read(i))

    check()


@tried
@given(st.binary(max_size=40))
def test_any_record_is_features_or_a_sentence(record: bytes) -> None:
    found = outcome(lambda: features(record), "tf.train.Example")
    assert all(isinstance(name, str) for name in found or ())


@tried
@given(
    shards=st.lists(st.integers(0, 30), max_size=6),
    seed=st.integers(-(2**63), 2**63 - 1),
    shuffle_img=st.integers(-1, 100),
)
def test_any_order_shows_every_image_once_an_epoch(
    shards: list[int], seed: int, shuffle_img: int
) -> None:
    shuffle = outcome(lambda: Shuffle(shards, seed, shuffle_img))
    if shuffle is None:
        return
    epochs, ids = shuffle.at(np.arange(2 * sum(shards)))
    for epoch in (0, 1):
        assert sorted(ids[epochs == epoch].tolist()) == list(range(sum(shards)))
