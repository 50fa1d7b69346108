"""Sources: whatever people have is read upright, in 8 bits, or refused by name."""

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.images import load_images
from pipeline.data.pixels import decode, square
from pipeline.data.sources import open_source
from stylealae.errors import DataError


def halves(mode: str, size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Left half red, right half white."""
    image = Image.new("RGB", size, "white")
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
        ("RGB", "JPEG"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
        ("RGBA", "WEBP"),
        ("YCbCr", "JPEG"),
    ],
)
def test_colour_modes(mode: str, kind: str) -> None:
    pixels = decode(saved(halves(mode), kind), 3)
    assert pixels.shape == (20, 40, 3)
    assert np.abs(pixels[10, 5].astype(int) - [255, 0, 0]).max() < 12
    assert np.abs(pixels[10, 35].astype(int) - 255).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    pixels = decode(saved(halves("L"), kind), 3)
    assert (pixels == pixels[:, :, :1]).all()
    assert decode(saved(halves("RGB"), kind), 1).shape == (20, 40, 1)


def test_sixteen_bits_are_scaled_not_cut() -> None:
    deep = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    pixels = decode(saved(Image.fromarray(deep), "PNG"), 1)
    assert (pixels[0, :, 0] == np.arange(256)).all()


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert (decode(saved(clear, "PNG"), 3) == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_upright(kind: str, orientation: int) -> None:
    upright = np.full((16, 32, 3), 255, np.uint8)
    upright[:8, :16] = 255, 0, 0  # a red top left corner tells all eight apart
    turn = Image.Transpose
    undone = [
        *(None, None, turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM),
        *(turn.TRANSPOSE, turn.ROTATE_90, turn.TRANSVERSE, turn.ROTATE_270),
    ][orientation]
    stored = Image.fromarray(upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(
        saved(stored if undone is None else stored.transpose(undone), kind, exif=exif), 3
    )
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 10  # JPEG blurs colour


def test_a_crop_is_centred_and_powers_of_two_are_means() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    pixels, enlarged = square(image, 16)
    assert not enlarged
    means = image[:, 8:72].reshape(16, 4, 16, 4, 3).astype(np.float64).mean((1, 3))
    assert (pixels == means).all()
    assert square(image[:10, :10], 16)[1]
    assert square(image[:60], 16)[0].shape == (16, 16, 3)


def test_damaged_files_say_why() -> None:
    whole = saved(halves("RGB", (300, 300)), "JPEG")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    with pytest.raises(DataError, match="decoded"):
        decode(whole[: len(whole) * 2 // 3], 3)
    with pytest.raises(DataError, match="decoded"):
        decode(saved(noise, "PNG")[:9000], 3)
    with pytest.raises(DataError, match="0 bytes"):
        decode(b"", 3)
    with pytest.raises(DataError, match="no image"):
        decode(b"hello, I am a text file", 3)
    with pytest.raises(DataError, match="floating"):
        decode(saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), 3)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_unread(side: int) -> None:
    bomb = bytearray(saved(Image.new("1", (8, 8)), "BMP"))
    bomb[18:26] = side.to_bytes(4, "little") * 2  # width and height in the header
    with pytest.raises(DataError, match="decompression bomb"):
        decode(bytes(bomb), 3)


@pytest.fixture(params=["folder", "zip", "tar"])
def packed(request: pytest.FixtureRequest, photos: Path, tmp_path: Path) -> Path:
    """The shared photos below `faces/` in a folder, zip or tar, other files among them."""
    files = {f"faces/{p.name}": p.read_bytes() for p in sorted(photos.iterdir())}
    files |= {"faces/notes.txt": b"hm", "__MACOSX/faces/._000.png": b"junk", "faces/.x.png": b""}
    path = tmp_path / f"photos.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif request.param == "tar":
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def test_containers_hold_the_same_images(packed: Path, photos: Path) -> None:
    source = open_source(str(packed))
    assert (source.name, len(source)) == (packed.suffix[1:], 100)
    assert source.splits == {"train": range(84), "test": range(84, 100)}
    assert source.label_names == ("age", "parity")
    sample = source.read(7)
    assert sample.key == "faces/007.v1.png"
    assert sample.labels == {"age": 1.75, "parity": "odd"}
    assert (sample.image == np.asarray(Image.open(photos / "007.v1.png"))).all()


def test_a_source_reopens_itself_in_another_process(packed: Path) -> None:
    source = open_source(str(packed), channels=1, licence="CC BY 4.0")
    sent = pickle.dumps(source)
    again = pickle.loads(sent)
    assert len(sent) < 1000
    assert (again.channels, again.licence) == (1, "CC BY 4.0")
    assert again.fingerprint == source.fingerprint
    assert (again.read(3).image == source.read(3).image).all()


def test_a_cut_tar_is_refused(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "cut.tar"
    with tarfile.open(path, "w") as archive:
        for photo in sorted(photos.glob("*.png"))[:5]:
            archive.add(photo, photo.name)
        end = archive.offset
    whole = path.read_bytes()
    for length in (end, end + 100, end - 700):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.tar"):
            open_source(str(path))


def test_nothing_to_read_says_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no files at all"):
        open_source(str(tmp_path))
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"looked for .*\.png.* found 1 \.txt files"):
        open_source(str(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="neither a folder nor"):
        open_source(str(tmp_path / "a.txt"))


def test_small_sets_keep_their_images_for_training(photos: Path) -> None:
    assert open_source(str(photos), test_fraction=0.0).splits == {"train": range(100)}
    assert open_source(str(photos), test_fraction=0.3).splits["test"] == range(70, 100)


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in IDX form."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_idx_round_trip(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    labels = np.arange(7, dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:5])))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels[:5]))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(images[5:]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[5:]))
    source = open_source(str(tmp_path))
    assert (source.name, source.channels) == ("idx", 1)
    assert source.splits == {"train": range(5), "test": range(5, 7)}
    for i in range(7):
        sample = source.read(i)
        assert sample.labels == {"class": float(i)}
        assert (sample.image[2:30, 2:30, 0] == images[i]).all()
        assert sample.image.sum() == images[i].sum(dtype=np.int64)
    assert source.key(6) == "test-00001"
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[5:])[:-1])
    with pytest.raises(DataError, match="bytes"):
        open_source(str(tmp_path))


def test_tools_see_images_as_training_does(photos: Path, tmp_path: Path) -> None:
    x = load_images([photos / "000.v1.png", photos], 16, count=3)
    assert x.shape == (3, 3, 16, 16)
    assert (x[0] == x[1]).all()
    assert x.min() >= -1
    assert x.max() <= 1
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"bad\.png"):
        load_images([tmp_path / "bad.png"], 16)
