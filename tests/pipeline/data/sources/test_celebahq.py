"""CelebA-HQ, on look-alikes in the layouts of CelebAMask-HQ's README and of image_list.txt."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError

CELEBA = ("000005.jpg", "119613.jpg", "000777.jpg")  # files of CelebA that 0, 1 and 2 were made of
ATTRIBUTES = {"000005.jpg": (1, -1), "119613.jpg": (-1, 1), "000777.jpg": (-1, -1)}


def saved(number: int, kind: str) -> bytes:
    file = io.BytesIO()
    level = 10 * number % 256
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(file, kind)
    return file.getvalue()


def attributes(rows: dict[str, tuple[int, int]]) -> str:
    """A list as CelebA writes it: the count, the names, and aligned columns."""
    lines = [f"{name}  {a:2d} {b:2d}" for name, (a, b) in rows.items()]
    return "\n".join([str(len(rows)), "Smiling Young ", *lines, ""])


def numbered(folder: Path, name: str, kind: str, count: int = 3) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / name.format(i)).write_bytes(saved(i, kind))


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """CelebAMask-HQ as its zip unpacks: images without leading zeros, masks, lists."""
    root = tmp_path / "CelebAMask-HQ"
    numbered(root / "CelebA-HQ-img", "{}.jpg", "JPEG", 12)
    for i in range(12):
        mask = root / "CelebAMask-HQ-mask-anno" / "0" / f"{i:05d}_skin.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(saved(i, "PNG"))
    rows = {f"{i}.jpg": (1 if i % 2 else -1, -1) for i in range(12)}
    (root / "CelebAMask-HQ-attribute-anno.txt").write_text(attributes(rows))
    (root / "CelebAMask-HQ-pose-anno.txt").write_text("12\nYaw Pitch Raw\n")
    listed = [f"{i} {i + 100} {i + 101:06d}.jpg" for i in range(12)]
    mapping = "\n".join(["idx          orig_idx     orig_file", *listed])
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(mapping)
    return root


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """CelebA-HQ made from the deltas, beside it image_list.txt and CelebA's list."""
    numbered(tmp_path / "celeba-hq", "imgHQ{:05d}.png", "PNG")
    rows = [f"{i} {i + 9} {name} md5 md5" for i, name in enumerate(CELEBA)]
    text = "\n".join(["idx orig_idx orig_file proc_md5 final_md5", *rows])
    (tmp_path / "image_list.txt").write_text(text)
    (tmp_path / "list_attr_celeba.txt").write_text(attributes(ATTRIBUTES))
    return tmp_path / "celeba-hq"


@pytest.mark.parametrize("packed", [False, True])
def test_celebamask_hq(masks: Path, tmp_path: Path, packed: bool) -> None:
    path = masks
    if packed:
        path = tmp_path / "CelebAMask-HQ.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(masks.rglob("*.*")):
                archive.write(file, f"CelebAMask-HQ/{file.relative_to(masks)}")
    source = open_source(str(path))
    assert (source.name, len(source)) == ("celebahq", 12)
    assert source.label_names == ("Smiling", "Young")
    for i in range(12):  # by number: 10 comes after 9, not after 1
        sample = source.read(i)
        assert sample.key.endswith(f"CelebA-HQ-img/{i}.jpg")
        assert abs(int(sample.image[0, 0, 0]) - 10 * i) <= 2
        assert sample.labels == {"Smiling": 1.0 if i % 2 else -1.0, "Young": -1.0}


def test_the_folder_of_images_alone_finds_its_list(masks: Path) -> None:
    source = open_source(str(masks / "CelebA-HQ-img"))
    assert source.name == "celebahq"
    assert source.read(11).labels["Smiling"] == 1.0


def test_numbers_are_joined_to_celebas_attributes(listed: Path) -> None:
    source = open_source(str(listed), "celebahq")
    for i, name in enumerate(CELEBA):
        smiling, young = ATTRIBUTES[name]
        assert source.read(i).labels == {"Smiling": float(smiling), "Young": float(young)}


def test_the_lists_may_lie_inside_or_be_named(listed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    for name in ("image_list.txt", "list_attr_celeba.txt"):
        (tmp_path / name).rename(elsewhere / name)
    named = open_source(str(listed), "celebahq", labels=str(elsewhere / "list_attr_celeba.txt"))
    for name in ("image_list.txt", "list_attr_celeba.txt"):
        (elsewhere / name).rename(listed / name)
    inside = open_source(str(listed))
    assert inside.name == "celebahq"
    assert named.read(1).labels == inside.read(1).labels == {"Smiling": -1.0, "Young": 1.0}


def test_celeba_itself_goes_by_name(tmp_path: Path) -> None:
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    for i, name in enumerate(CELEBA):
        (root / "img_align_celeba" / name).write_bytes(saved(i, "JPEG"))
    (root / "list_attr_celeba.txt").write_text(attributes(ATTRIBUTES))
    source = open_source(str(root))
    assert source.name == "celebahq"
    for i in range(3):
        smiling, _ = ATTRIBUTES[source.key(i).rpartition("/")[2]]
        assert source.read(i).labels["Smiling"] == smiling


def test_a_plain_folder_is_taken_without_attributes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbered(tmp_path / "hq", "{:05d}.jpg", "JPEG", 90)
    source = open_source(str(tmp_path / "hq"), "celebahq")
    assert source.label_names == ()
    assert "attributes are not carried" in caplog.text
    assert [len(part) for part in source.splits.values()] == [74, 16]


def test_of_thirty_thousand_the_last_thousand_are_for_tests(
    masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(str(masks))
    monkeypatch.setattr(type(source), "__len__", lambda _: 30_000)
    assert source.splits == {"train": range(29_000), "test": range(29_000, 30_000)}


def test_lists_of_other_images_are_refused(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "image_list.txt").write_text("0 9 000005.jpg\n")
    with pytest.raises(DataError, match=r"image_list\.txt does not list CelebA-HQ"):
        open_source(str(listed), "celebahq")
    (tmp_path / "image_list.txt").unlink()
    with pytest.raises(DataError, match="knows none of the 3 images"):
        open_source(str(listed), "celebahq")


def test_celeba_as_it_is_handed_out(tmp_path: Path) -> None:
    """Images below Img, lists below Anno; a folder or a zip of images beside the lists."""
    names = {f"{i + 1:06d}.jpg": (1 if i % 2 else -1, -1) for i in range(3)}
    numbered(tmp_path / "C/Img/img_align_celeba_png", "00000{}.png", "PNG", 4)
    (tmp_path / "C/Img/img_align_celeba_png/000000.png").unlink()
    (tmp_path / "C/Anno").mkdir()
    (tmp_path / "C/Anno/list_attr_celeba.txt").write_text(attributes(names))
    numbered(tmp_path / "flat/img_align_celeba", "00000{}.jpg", "JPEG", 4)
    (tmp_path / "flat/img_align_celeba/000000.jpg").unlink()
    (tmp_path / "flat/list_attr_celeba.txt").write_text(attributes(names))
    shutil.make_archive(
        str(tmp_path / "flat/img_align_celeba"), "zip", tmp_path / "flat/img_align_celeba"
    )
    for given in (
        *("C", "C/Img/img_align_celeba_png", "flat"),
        *("flat/img_align_celeba", "flat/img_align_celeba.zip"),
    ):
        source = open_source(str(tmp_path / given))
        labels = [source.read(i).labels["Smiling"] for i in range(len(source))]
        assert (source.name, labels) == ("celebahq", [-1.0, 1.0, -1.0]), given
