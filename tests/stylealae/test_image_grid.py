"""Image grids: every image at a whole factor, with its captions and headings."""

import numpy as np
import torch

from stylealae.image_grid import image_grid, paired_grid, to_uint8


def test_a_grid_shows_every_image_at_whole_factors():
    x = torch.rand(5, 3, 8, 8) * 2 - 1
    sheet = np.asarray(image_grid([("", x)], columns=3, tile=16))
    want = to_uint8(x).repeat(2, 1).repeat(2, 2)
    for k, image in enumerate(want):
        row, column = divmod(k, 3)
        top, left = 12 + row * 18, 12 + column * 18
        assert np.array_equal(sheet[top : top + 16, left : left + 16], image)


def test_headings_and_captions_take_room_and_ink():
    rows = [
        ("one", torch.zeros(3, 3, 16, 16)),
        ("two with many words to wrap", torch.zeros(3, 1, 4, 4)),
    ]
    bare = image_grid([("", x) for _, x in rows])
    full = image_grid(rows, headings=["a", "b\nc", "a_file_name_too_long_for_its_column.png"],
                         title="title")  # fmt: skip
    assert full.width > bare.width
    assert full.height > bare.height
    ink = np.asarray(full.convert("L")) < 100
    assert ink[:, :100].any()
    assert ink[:12].any() or ink[12:30].any()
    assert paired_grid(rows, ["a", "b", "c"], columns=2).height > full.height


def test_letters_of_other_languages_are_drawn():
    x = torch.zeros(1, 3, 16, 16)
    drawn = [np.asarray(image_grid([(name, x)])).tobytes() for name in ("Zoé", "Zoë", "Жaн", "Яaн")]
    assert len(set(drawn)) == 4  # boxes would be alike
