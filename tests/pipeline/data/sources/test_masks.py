"""Images that are named as masks of others: told, and nothing else is."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.sources.masks import masks_told
from pipeline.data.sources.registry import open_source


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (["a.jpg", "a_mask.png", "b.jpg", "b_mask.png"], ": 2, such as a_mask.png;"),
        (["images/1.jpg", "masks/1.png"], ": 1, such as masks/1.png;"),
        (["x/1.jpg", "x/parsing maps/1.png"], ""),  # a folder of no such name
        (["train/1.jpg", "train_segmentation/1_seg.png"], "others: 1,"),
        (["NORMAL/1.png", "PNEUMONIA/1.png"], ""),
        (["mask.png", "party_mask.jpg"], ""),  # of no other image
        (["masks/1.png", "masks/2.png"], ""),  # the masks alone, as asked
        (["labels/1.png", "images/1.jpg", "depth/1.png"], "others: 2,"),
    ],
)
def test_masks_are_told_where_their_images_are_there(keys: list[str], told: str) -> None:
    assert re.search(told or "^$", masks_told("in", keys) or "")


def test_a_source_says_so_and_keeps_them(tmp_path: Path) -> None:
    for name in ("face.png", "face_mask.png"):
        file = io.BytesIO()
        Image.new("RGB", (4, 4)).save(file, "PNG")
        (tmp_path / name).write_bytes(file.getvalue() + name.encode())
    source = open_source(str(tmp_path))
    assert len(source) == 2
    assert any(
        "names of masks of others: 1, such as face_mask.png" in note for note in source.notes
    )
