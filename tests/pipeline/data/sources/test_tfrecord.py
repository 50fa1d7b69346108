"""StyleGAN's TFRecords, written here with TensorBoard's record writer and Google's protobuf."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboard.summary.writer.record_writer import RecordWriter

from pipeline.data.pixels import pyramid
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError

pytest.importorskip("google_crc32c")

PUBLISHED = {4: 98, 8: 247, 16: 823, 32: 3127, 64: 12_343, 128: 49_214, 256: 196_670}
"""Bytes of a record in ffhq-r02.tfrecords ..., from the file sizes in NVIDIA's download_ffhq.py."""


def example_class() -> Any:
    """`tf.train.Example`, described as in TensorFlow's example.proto and feature.proto."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")

    def message(name: str, *fields: Any) -> Any:
        made = file.message_type.add(name=name)
        for field, number, kind, label, *of in fields:
            types = {"type_name": f".tf.{of[0]}"} if of else {}
            made.field.add(name=field, number=number, type=kind, label=label, **types)
        return made

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", ("value", 1, kinds.TYPE_BYTES, many))
    message("FloatList", ("value", 1, kinds.TYPE_FLOAT, many))
    message("Int64List", ("value", 1, kinds.TYPE_INT64, many))
    feature = message(
        "Feature",
        ("bytes_list", 1, kinds.TYPE_MESSAGE, one, "BytesList"),
        ("float_list", 2, kinds.TYPE_MESSAGE, one, "FloatList"),
        ("int64_list", 3, kinds.TYPE_MESSAGE, one, "Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message(
        "Features", ("feature", 1, kinds.TYPE_MESSAGE, many, "Features.FeatureEntry")
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=one)
    entry.field.add(
        name="value", number=2, type=kinds.TYPE_MESSAGE, label=one, type_name=".tf.Feature"
    )
    message("Example", ("features", 1, kinds.TYPE_MESSAGE, one, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


Example = example_class()


def encoded(planes: np.ndarray) -> bytes:
    """An image as TFRecordExporter.add_image of StyleGAN's dataset_tool.py encodes it."""
    example = Example()
    example.features.feature["shape"].int64_list.value.extend(planes.shape)
    example.features.feature["data"].bytes_list.value.append(planes.tobytes())
    return bytes(example.SerializeToString())


def images(count: int, channels: int = 3, side: int = 16) -> np.ndarray:
    rng = np.random.default_rng(channels)
    return rng.integers(0, 256, (count, channels, side, side), np.uint8)


def exported(folder: Path, planes: np.ndarray, labels: np.ndarray | None = None) -> Path:
    """A folder of TFRecords of all sizes, as StyleGAN's TFRecordExporter leaves it."""
    folder.mkdir()
    sides = tuple(4 << k for k in range(9) if 4 << k <= planes.shape[2])
    made = [pyramid(image, sides) for image in planes]
    for side in sides:
        name = f"{folder.name}-r{side.bit_length() - 1:02d}.tfrecords"
        with (folder / name).open("wb") as file:
            writer = RecordWriter(file)
            for image in made:
                writer.write(encoded(image[side]))
    if labels is not None:
        with (folder / f"{folder.name}-rxx.labels").open("wb") as file:
            np.save(file, labels.astype(np.float32))
    return folder


@pytest.fixture
def ffhq(tmp_path: Path) -> Path:
    return exported(tmp_path / "ffhq", images(5))


@pytest.mark.parametrize("side", PUBLISHED)
def test_our_records_are_as_long_as_the_published_ones(side: int) -> None:
    assert len(encoded(np.zeros((3, side, side), np.uint8))) + 16 == PUBLISHED[side]


def test_every_image_comes_from_the_file_of_its_size(ffhq: Path) -> None:
    source = open_source(str(ffhq))
    assert (source.name, len(source), source.channels) == ("tfrecord", 5, 3)
    for i, image in enumerate(images(5)):
        for wanted, side in ((4, 4), (8, 8), (16, 16), (64, 16)):
            found = source.read(i, wanted).image.transpose(2, 0, 1)
            assert (found == pyramid(image, (side,))[side]).all()
    assert source.key(3) == "00000003"


def test_one_file_alone(ffhq: Path) -> None:
    source = open_source(str(ffhq / "ffhq-r03.tfrecords"))
    assert source.read(0, 256).image.shape == (8, 8, 3)


def test_grey_and_one_hot_labels(tmp_path: Path) -> None:
    labels = np.eye(10)[[7, 2, 1, 0]]
    source = open_source(str(exported(tmp_path / "mnist", images(4, 1), labels)))
    assert source.channels == 1
    assert [source.read(i).labels["class"] for i in range(4)] == [7.0, 2.0, 1.0, 0.0]
    colour = open_source(str(tmp_path / "mnist"), channels=3).read(0)
    assert colour.image.shape == (16, 16, 3)
    assert colour.changes == ("grey to RGB",)


def test_labels_given_by_hand(ffhq: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.arange(10.0).reshape(5, 2))
    source = open_source(str(ffhq), labels=str(tmp_path / "mine.npy"))
    assert source.read(4).labels == {"label0": 8.0, "label1": 9.0}
    np.save(tmp_path / "mine.npy", np.arange(4))
    with pytest.raises(DataError, match=r"array of \(4,\), the records are 5"):
        open_source(str(ffhq), labels=str(tmp_path / "mine.npy"))


def test_pickled_labels_are_refused(ffhq: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"evil\.npy cannot be read as a NumPy array"):
        open_source(str(ffhq), labels=str(tmp_path / "evil.npy"))


def test_a_flipped_bit_is_named(ffhq: Path) -> None:
    path = ffhq / "ffhq-r04.tfrecords"
    data = bytearray(path.read_bytes())
    data[2 * 823 + 400] ^= 1
    data[3 * 823 + 3] ^= 1  # in the length of another record
    path.write_bytes(data)
    source = open_source(str(ffhq))
    with pytest.raises(DataError, match="00000002: its data does not have the recorded CRC"):
        source.read(2, 16)
    with pytest.raises(DataError, match="00000003: there is no record where it should begin"):
        source.read(3, 16)
    assert (source.read(4, 16).image.transpose(2, 0, 1) == images(5)[4]).all()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda data: data[:-100], "ends 723 bytes after 4 records of 823"),
        (lambda data: data[:-823], "different numbers of records .*5 in ffhq-r02.*4 in ffhq-r04"),
        (lambda data: data[:7], "begins with no record"),
        (gzip.compress, "begins with no record: it is compressed, or no TFRecord file"),
        (lambda data: b"<html>quota exceeded</html>", "begins with no record"),
    ],
)
def test_a_damaged_file_is_named(ffhq: Path, harm: Any, said: str) -> None:
    path = ffhq / "ffhq-r04.tfrecords"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DataError, match=said):
        open_source(str(ffhq))


def test_other_contents_are_named(tmp_path: Path) -> None:
    other = Example()
    other.features.feature["image"].bytes_list.value.append(b"abc")
    for data, said in (
        (bytes(other.SerializeToString()), "it holds image, not a shape and data"),
        (b"\x0a\xff\xff", "holds no tf.train.Example"),
        (b"", "it holds nothing"),
        (encoded(np.zeros((2, 4, 4), np.uint8)), r"its shape is \[2, 4, 4\]"),
    ):
        path = tmp_path / "set-r02.tfrecords"
        with path.open("wb") as file:
            RecordWriter(file).write(data)
        with pytest.raises(DataError, match=said):
            open_source(str(path))


def test_two_datasets_in_one_folder_are_refused(ffhq: Path) -> None:
    (ffhq / "other-r02.tfrecords").write_bytes((ffhq / "ffhq-r02.tfrecords").read_bytes())
    with pytest.raises(DataError, match="holds 4 TFRecords, of which 3"):
        open_source(str(ffhq))


def cut(folder: Path, parts: int) -> Path:
    """Every file of a folder cut into parts as ALAE's prepare_celeba_hq_tfrec.py names them."""
    for path in sorted(folder.glob("*.tfrecords")):
        data, records = path.read_bytes(), 5
        length = len(data) // records
        for part in range(parts):
            begin, end = (length * (records * k // parts) for k in (part, part + 1))
            path.with_name(f"{path.name}.{part:03d}").write_bytes(data[begin:end])
        path.unlink()
    return folder


def test_parts_are_one_after_the_other(ffhq: Path) -> None:
    whole = open_source(str(ffhq)).fingerprint
    source = open_source(str(cut(ffhq, 3)))
    assert (source.name, len(source)) == ("tfrecord", 5)
    for i, image in enumerate(images(5)):
        assert (source.read(i, 16).image.transpose(2, 0, 1) == image).all()
    assert source.fingerprint == whole
    (ffhq / "ffhq-r03.tfrecords.001").unlink()
    with pytest.raises(DataError, match=r"of ffhq-r03\.tfrecords there are the parts \[0, 2\]"):
        open_source(str(ffhq))


def test_a_label_in_each_record_is_its_class(tmp_path: Path) -> None:
    path, labels = tmp_path / "mnist-r04.tfrecords", [7, 0, 300, -1]  # of three lengths
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for image, label in zip(images(4, 1), labels, strict=True):
            example = Example.FromString(encoded(image))
            example.features.feature["label"].int64_list.value.append(label)
            example.features.feature["name"].bytes_list.value.append(b"x")
            writer.write(bytes(example.SerializeToString()))
    source = open_source(str(tmp_path))
    assert source.label_names == ("class",)
    assert [source.read(i).labels["class"] for i in range(4)] == [7.0, 0.0, 300.0, -1.0]
    assert (source.read(3).image[:, :, 0] == images(4, 1)[3][0]).all()
    assert any("name of the records is not used" in note for note in source.notes)
    np.save(tmp_path / "mine.npy", np.arange(4))
    given = open_source(str(tmp_path), labels=str(tmp_path / "mine.npy"))
    assert [given.read(i).labels["class"] for i in range(4)] == [0.0, 1.0, 2.0, 3.0]
    assert any("label, name of the records is not used" in note for note in given.notes)


def test_other_pixels_are_another_input(ffhq: Path, tmp_path: Path) -> None:
    other = images(5)
    other[3] = 255 - other[3]
    again = exported(tmp_path / "again", other)
    same = exported(tmp_path / "same", images(5))
    before = open_source(str(ffhq)).fingerprint
    assert open_source(str(same)).fingerprint == before
    assert open_source(str(again)).fingerprint != before
