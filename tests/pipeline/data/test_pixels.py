"""Whatever an image file holds becomes upright 8-bit pixels, or is refused with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.data.decoding import decode
from pipeline.data.jpeg import SOS, segments_of
from pipeline.data.pixels import pyramid, recoloured, square
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


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG put together by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("mode", "kind", "changes"),
    [
        ("RGB", "PNG", ()),
        ("RGB", "JPEG", ()),
        ("YCbCr", "JPEG", ()),
        ("RGB", "BMP", ()),
        ("RGB", "TIFF", ()),
        ("RGB", "WEBP", ()),
        ("RGBA", "PNG", ("transparency on white",)),
        ("P", "PNG", ("palette to RGB",)),
        ("P", "GIF", ("palette to RGB",)),
        ("CMYK", "JPEG", ("CMYK to RGB",)),
        ("CMYK", "TIFF", ("CMYK to RGB",)),
        ("LAB", "TIFF", ("LAB to RGB",)),
    ],
)
def test_colour_modes(mode: str, kind: str, changes: tuple[str, ...]) -> None:
    image = halves("RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    if mode == "LAB":
        image = Image.merge("LAB", [Image.new("L", (40, 20), v) for v in (255, 128, 128)])
    pixels, found = decode(saved(image if mode == "LAB" else halves(mode), kind, **options), 3)
    assert found == changes
    assert pixels.shape == (20, 40, 3)
    assert np.abs(pixels[10, 35].astype(int) - 255).max() < 12
    if mode != "LAB":
        assert np.abs(pixels[10, 5].astype(int) - [255, 0, 0]).max() < 12


def test_cmyk_jpeg_is_what_pillow_makes_of_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    data = saved(Image.frombytes("CMYK", (16, 16), noise.tobytes()), "JPEG", quality=95)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)
    assert np.abs(decode(data, 3)[0] - theirs).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_becomes_three_equal_channels_and_colour_one(kind: str) -> None:
    pixels, changes = decode(saved(halves("L"), kind), 3)
    assert changes == ("grey to RGB",)
    assert (pixels == pixels[:, :, :1]).all()
    pixels, changes = decode(saved(halves("RGB"), kind), 1)
    assert changes == ("colour to grey",)
    assert pixels.shape == (20, 40, 1)
    assert decode(saved(halves("L"), kind), 1)[1] == ()


def test_bare_pixels_change_colour_as_files_do() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    grey, change = recoloured(colour, 1)
    assert (grey == decode(saved(Image.fromarray(colour), "PNG"), 1)[0]).all()
    assert change == ("colour to grey",)
    again, change = recoloured(grey, 3)
    assert (again == grey).all()
    assert change == ("grey to RGB",)
    assert recoloured(colour, 3)[0] is colour


def test_sixteen_bits_are_scaled_not_cut() -> None:
    deep = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    pixels, changes = decode(saved(Image.fromarray(deep), "PNG"), 1)
    assert changes == ("16 bits to 8",)
    assert (pixels[0, :, 0] == np.arange(256)).all()


def test_sixteen_bits_of_colour() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    pixels, changes = decode(png(5, 6, 16, 2, rows), 3)
    assert changes == ("16 bits to 8",)
    assert np.abs(pixels - deep / 257).max() <= 1


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    for kind in ("PNG", "WEBP", "TIFF"):
        assert (decode(saved(clear, kind), 3)[0] == 255).all()
    pixels, changes = decode(saved(halves("P"), "PNG", transparency=bytes(256)), 3)
    assert (pixels == 255).all()
    assert changes == ("transparency on white",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP"])
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
    pixels, changes = decode(
        saved(stored if undone is None else stored.transpose(undone), kind, exif=exif), 3
    )
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 10  # JPEG blurs colour
    assert changes == (() if orientation == 1 else ("turned upright",))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    pixels, changes = decode(data, 3)
    assert "first of several frames" in changes
    assert np.abs(pixels[8, 8].astype(int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_centred_and_powers_of_two_are_means(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 80, channels), dtype=np.uint8)
    planes, changes = square(image, 16)
    assert changes == ("cropped to a square",)
    means = image[:, 8:72].reshape(16, 4, 16, 4, channels).astype(np.float64).mean((1, 3))
    assert (planes.transpose(1, 2, 0) == means).all()
    assert square(image[:60], 16)[0].shape == (channels, 16, 16)
    assert square(image[:, :64], 16)[1] == ()


def test_a_border_that_no_memory_would_hold_is_refused() -> None:
    long = np.zeros((1, 20_000, 3), np.uint8)
    with pytest.raises(DataError, match="it is 20000x1, and a square around it would have 400,0"):
        square(long, 8, "pad")
    assert square(long, 8)[0].shape == (3, 8, 8)


def test_a_small_image_is_enlarged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    planes, changes = square(image, 16)
    assert planes.shape == (3, 16, 16)
    assert changes == ("enlarged",)


def test_a_border_is_black_and_keeps_everything() -> None:
    image = np.full((16, 32, 3), 200, np.uint8)
    planes, changes = square(image, 32, "pad")
    assert changes == ("padded to a square",)
    assert (planes[:, 8:24] == 200).all()
    assert (planes[:, :8] == 0).all()
    assert (planes[:, 24:] == 0).all()


def test_a_pyramid_is_means_of_the_largest_rounded_once() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    made = pyramid(square(image, 32)[0], (4, 16, 32))
    for side, planes in made.items():
        times = 64 // side
        means = image.reshape(side, times, side, times, 3).mean((1, 3), np.float64)
        assert (planes == np.rint(means).transpose(2, 0, 1)).all()
        assert planes.dtype == np.uint8


def test_damaged_files_say_why() -> None:
    whole = saved(halves("RGB", (300, 300)), "JPEG")
    four = saved(halves("CMYK", (300, 300)), "JPEG")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    for cut in (
        whole[: len(whole) * 2 // 3],
        four[: len(four) * 2 // 3],
        saved(noise, "PNG")[:9000],
        saved(noise, "WEBP")[:900],
        saved(noise, "TIFF")[:900],
    ):
        with pytest.raises(DataError, match="cannot be decoded"):
            decode(cut, 3)
    with pytest.raises(DataError, match="0 bytes"):
        decode(b"", 3)
    with pytest.raises(DataError, match="no image"):
        decode(b"hello, I am a text file", 3)
    with pytest.raises(DataError, match="web page"):
        decode(b"<!DOCTYPE html><title>Quota exceeded</title>", 3)
    with pytest.raises(DataError, match="floating"):
        decode(saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_flipped_bits_are_seen_in_jpeg_and_png(kind: str) -> None:
    smooth = np.linspace(0, 255, 128)[:, None, None] * np.ones((1, 128, 3))
    whole = saved(Image.fromarray(smooth.astype(np.uint8)), kind)
    before = decode(whole, 3)[0]
    refused = 0
    for at in range(len(whole) // 2, len(whole) - 20, max(len(whole) // 60, 1)):
        data = bytearray(whole)
        data[at] ^= 0x10
        try:
            same = (decode(bytes(data), 3)[0] == before).all()
        except DataError:
            refused += 1
        else:
            assert same or kind == "JPEG"  # Huffman codes carry no checksum
    assert refused > 0


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_unread(side: int) -> None:
    bomb = bytearray(saved(Image.new("1", (8, 8)), "BMP"))
    bomb[18:26] = side.to_bytes(4, "little") * 2  # width and height in the header
    for data in (bytes(bomb), png(side, side, 1, 0, b"")):
        with pytest.raises(DataError, match="decompression bomb"):
            decode(data, 3)


def test_a_file_is_read_by_a_decoder_that_starts_no_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import EpsImagePlugin

    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started.append(a))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="no image of a known format"):
        decode(page, 3)
    assert not started


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_size_is_refused_from_the_header_alone(kind: str) -> None:
    data = bytearray(saved(halves("RGB"), kind))
    size, bound = (40, 20), 30_000
    if kind == "PNG":
        data[16:24] = struct.pack(">II", bound, bound)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        assert struct.unpack(">HH", data[at : at + 4]) == size[::-1]
        data[at : at + 4] = struct.pack(">HH", bound, bound)
    else:
        tags = (
            [data.index(struct.pack("<HHI", tag, 3, 1)) for tag in (256, 257)]
            if struct.pack("<HHI", 256, 3, 1) in data
            else [data.index(struct.pack("<HHI", tag, 4, 1)) for tag in (256, 257)]
        )
        for at in tags:
            data[at : at + 12] = data[at : at + 2] + struct.pack("<HII", 4, 1, bound)
    with pytest.raises(DataError, match=r"DecompressionBomb|decompression bomb"):
        decode(bytes(data), 3)


def test_a_jpeg_of_hundreds_of_scans_is_refused() -> None:
    photo = saved(Image.new("RGB", (3000, 3000)), "JPEG", progressive=True)
    assert decode(photo, 3)[0].shape == (3000, 3000, 3)
    last = photo.rindex(b"\xff\xda")
    scans = photo[:last] + photo[last:-2] * 300 + photo[-2:]
    with pytest.raises(DataError, match=r"3000x3000 pixels in 309 scans"):
        decode(scans, 3)


def test_a_film_behind_a_photo_is_no_scan_of_it() -> None:
    photo = saved(Image.new("RGB", (3000, 3000)), "JPEG")
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x0c" * 300
    assert decode(photo + film, 3)[0].shape == (3000, 3000, 3)


@pytest.mark.parametrize("between", [b"", b"\0" * 9, b"\xff\x02\xff\xff", b"\xff\xff", b"\xff\xd0"])
def test_scans_are_counted_whatever_lies_between_them(between: bytes) -> None:
    photo = saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last, scans = photo.rindex(b"\xff\xda"), photo.count(b"\xff\xda")
    more = photo[:last] + (between + photo[last:-2]) * 30 + photo[-2:]
    assert sum(marker == SOS for marker, _ in segments_of(more)) == scans + 29
