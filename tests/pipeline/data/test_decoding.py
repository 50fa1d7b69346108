"""Profiles, harmless faults and foreign files: right pixels and their count, or a sentence."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.data.decoding import HARMLESS, SECOND, decode, open_header
from pipeline.data.tags import is_deep
from stylealae.errors import DataError

CASES = Path(__file__).resolve().parents[2] / "cases" / "pixels"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(mode: str = "RGB", side: int = 32) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    ).convert(mode)


def profile(name: str) -> bytes:
    """The profile of one of the cases."""
    return bytes(Image.open(CASES / name).info["icc_profile"])


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("icc_adobergb.jpg", "Adobe RGB (1998) to sRGB"),
        ("icc_p3.jpg", "Display P3 to sRGB"),
        ("samsung_sos.jpg", HARMLESS),
        ("extraneous.jpg", HARMLESS),
        ("png_bigtext.png", HARMLESS),
        ("png_exifbad.png", "unreadable EXIF left out"),
    ],
)
def test_the_cases_show_the_quadrants_of_the_plain_one(name: str, change: str) -> None:
    plain, none = decode((CASES / "plain.jpg").read_bytes(), 3)
    found, changes = decode((CASES / name).read_bytes(), 3)
    assert none == ()
    assert changes == (change,)
    gap = np.abs(found.astype(int) - plain)
    if name in ("samsung_sos.jpg", "extraneous.jpg"):
        assert gap.max() == 0
    else:
        assert gap[16::32, 16::32].max() <= 2


def test_an_srgb_profile_changes_no_byte() -> None:
    for kind in ("PNG", "TIFF", "JPEG"):
        bare, tagged = (decode(saved(noise(), kind, **o), 3) for o in ({}, {"icc_profile": SRGB}))
        assert (bare[0] == tagged[0]).all()
        assert tagged[1] == ()


def test_every_mode_is_converted_by_its_profile() -> None:
    p3 = profile("icc_p3.jpg")
    wanted, _ = decode(saved(noise(), "PNG", icc_profile=p3), 3)
    assert np.abs(wanted.astype(int) - np.asarray(noise())).max() > 10
    clear = noise().convert("RGBA")
    found, changes = decode(saved(clear, "PNG", icc_profile=p3), 3)
    assert (found == wanted).all()
    assert changes == ("transparency on white", "Display P3 to sRGB")
    flat = noise().quantize(16)
    found, changes = decode(saved(flat, "PNG", icc_profile=p3), 3)
    assert changes == ("palette to RGB", "Display P3 to sRGB")
    assert (found == decode(saved(flat.convert("RGB"), "PNG", icc_profile=p3), 3)[0]).all()
    grey, changes = decode(saved(noise(), "PNG", icc_profile=p3), 1)
    assert changes == ("colour to grey", "Display P3 to sRGB")
    assert (grey[:, :, 0] == np.asarray(Image.fromarray(wanted).convert("L"))).all()


def grey_press() -> bytes:
    """The profile of a press whose four inks are grey: white is L* 100, an ink takes 25 of it."""
    inks = np.array(list(np.ndindex(2, 2, 2, 2))).sum(1)  # of CMYK, at the corners of the table
    lab = np.stack([255 - 255 * inks // 4, np.full(16, 128), np.full(16, 128)], 1)
    line = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * k for k in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    table = b"mft1\0\0\0\0\4\3\2\0" + matrix + 4 * line + lab.astype(np.uint8).tobytes() + 3 * line
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc\0\0\0\0" + struct.pack(">I", 11) + b"Grey press\0" + bytes(78)
    entries, body, at = b"", b"", 128 + 4 + 3 * 12
    for tag, data in ((b"desc", name), (b"wtpt", white), (b"A2B0", table)):
        entries += tag + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return head + struct.pack(">I", 3) + entries + body


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_inks_are_what_their_profile_says(kind: str) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    found, changes = decode(saved(cyan, kind, icc_profile=grey_press()), 3)
    assert changes == ("CMYK to RGB", "Grey press to sRGB")
    assert np.abs(found.astype(int) - 185).max() <= 4  # sRGB of L* 75
    bare, _ = decode(saved(cyan, kind), 3)
    assert np.abs(bare.astype(int) - [0, 255, 255]).max() <= 4


@pytest.mark.parametrize(
    ("icc", "mode", "change"),
    [
        (b"no profile", "RGB", "unreadable ICC profile left out"),
        (SRGB, "L", "ICC profile of another colour space left out"),
        (SRGB, "CMYK", "ICC profile of another colour space left out"),
    ],
)
def test_a_profile_that_cannot_be_used_is_said(icc: bytes, mode: str, change: str) -> None:
    data = saved(noise(mode), "TIFF", icc_profile=icc)
    found, changes = decode(data, 3)
    assert changes[-1] == change
    assert (found == decode(saved(noise(mode), "TIFF"), 3)[0]).all()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_harmless_faults_of_a_jpeg_cost_no_pixel() -> None:
    whole = saved(noise(), "JPEG", quality=90)
    wanted, _ = decode(whole, 3)
    scan = whole.index(b"\xff\xda")
    faulty = {
        "no end": whole[:-2],
        "zeros before the end": whole[:-2] + bytes(500) + whole[-2:],
        "text before the end": whole[:-2] + b"Samsung, a trailer; " * 3 + whole[-2:],
        "half a profile": whole[:2] + b"\xff\xe2\0\x14ICC_PROFILE\0\1\2abcd" + whole[2:],
        "JFIF 0.9": whole[:11] + b"\0\x09" + whole[13:],
        "zeros between segments": whole[:20] + bytes(5) + whole[20:],
        "scan of 0, 0, 0": whole[: scan + 11] + bytes(3) + whole[scan + 14 :],
    }
    faulty["several"] = faulty["JFIF 0.9"][: scan + 11] + bytes(3) + whole[scan + 14 : -2]
    for name, data in faulty.items():
        found, changes = decode(data, 3)
        assert changes[-1] == HARMLESS, name
        assert (found == wanted).all(), name


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_progressive_jpeg_without_an_end_is_whole_if_no_bit_is_missing(mode: str) -> None:
    """Its scans are told apart by their marks: without the last, or a part of it, it is refused."""
    whole = saved(noise(mode), "JPEG", quality=90, progressive=True)
    found, changes = decode(whole[:-2], 3)
    assert changes[-1] == HARMLESS
    assert (found == decode(whole, 3)[0]).all()
    scans = [k for k in range(len(whole)) if whole.startswith(b"\xff\xda", k)]
    assert len(scans) >= 6
    tables = [whole.rindex(b"\xff\xc4", 0, scan) for scan in scans[1:]]
    inside = [scans[-1] + 40, len(whole) - 40]
    ended = [whole[:cut] + b"\xff\xd9" for cut in inside]
    for data in (*(whole[:cut] for cut in (*tables, *scans[1:], *inside)), *ended):
        with pytest.raises(DataError, match="cannot be decoded"):
            decode(data, 3)


def test_a_harmless_fault_hides_no_damage() -> None:
    whole = saved(noise(), "JPEG", quality=90)
    slow = saved(noise(), "JPEG", quality=90, progressive=True)
    scan = whole.index(b"\xff\xda")
    samsung = whole[: scan + 11] + bytes(3) + whole[scan + 14 :]
    for data in (
        samsung[: scan + 600],
        samsung[: scan + 600] + b"\xff\xd9",
        whole[:-2] + whole[scan + 14 : scan + 214] + whole[-2:],  # of a scan, not filler
        slow[: slow.rindex(b"\xff\xda")],  # a scan is missing
        (CASES / "extraneous.jpg").read_bytes()[:500],
    ):
        with pytest.raises(DataError, match="cannot be decoded"):
            decode(data, 3)


def test_broken_extras_of_a_png_cost_no_pixel_and_broken_pixels_are_refused() -> None:
    whole = saved(noise(), "PNG")
    text = chunk(b"tEXt", b"Comment\0hello")
    at = whole.index(b"IDAT") - 4
    found, changes = decode(whole[:at] + text[:-1] + b"?" + whole[at:], 3)
    assert changes == (HARMLESS,)
    assert (found == np.asarray(noise())).all()
    end = whole.index(b"IEND") - 4
    late = whole[:end] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 << 20))) + whole[end:]
    assert (decode(late, 3)[0] == np.asarray(noise())).all()
    lost = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2 << 20)))  # longer than Pillow reads
    for extra, said in (
        (chunk(b"gAMA", b""), HARMLESS),
        (lost, "unreadable ICC profile left out"),
        (chunk(b"iCCP", b"x\0\0?"), "unreadable ICC profile left out"),
    ):
        found, changes = decode(whole[:at] + extra + whole[at:], 3)
        assert (found == np.asarray(noise())).all()
        assert changes == (said,)
    assert decode(whole[:end], 3)[1] == (HARMLESS,)
    half = whole[:at] + chunk(b"IDAT", whole[at + 8 : end - 400])
    for cut in (half, half + whole[end:]):
        with pytest.raises(DataError, match="cannot be decoded"):
            decode(cut, 3)
    broken = bytearray(late)
    broken[at + 100] ^= 1
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(bytes(broken), 3)


def test_a_sampling_that_the_strict_decoder_does_not_know() -> None:
    grey = saved(Image.new("RGB", (24, 8), (128, 128, 128)), "JPEG", subsampling=0)
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    bits = "001010" * 3 + "0000" * 2 + "111111"  # three blocks of Y, one of Cb and Cr, all empty
    body = int(bits, 2).to_bytes(4, "big")
    odd = bytearray(grey[: scan + 14] + body + b"\xff\xd9")
    odd[frame + 11] = 0x31
    found, changes = decode(bytes(odd), 3)
    assert changes == (SECOND,)
    assert np.abs(found.astype(int) - 128).max() <= 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((CASES / "heic_named.jpg").read_bytes(), "HEIC"),
        ((CASES / "lfs_pointer.jpg").read_bytes(), "Git LFS pointer"),
        (b"/annex/objects/SHA256E-s12--0123.jpg\n", "git-annex pointer"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "SVG drawing"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "XML, not an image"),
        (b"\n<html><body>Quota exceeded</body></html>", "web page"),
        (b'{"message": "Not Found"}', "JSON, not an image"),
        (b"\xff\x0a\x00\x10", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0", "video"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (bytes(5000), "5,000 zero bytes"),
        (b"hello", "no image of a known format, but a text"),
        (b"\x01\x02\x03\x04", "no image of a known format"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode(data, 3)


def test_heic_is_read_where_its_library_is() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    made = heif.from_pillow(Image.new("RGB", (64, 48), (200, 100, 50)))
    file = io.BytesIO()
    made.save(file, quality=90)
    found, changes = decode(file.getvalue(), 3)
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - [200, 100, 50]).max() < 8
    assert changes == ()


def test_a_photo_of_fifty_megapixels_is_within_bounds() -> None:
    image, _, _ = open_header((CASES / "pixel_8160x6144.png").read_bytes())
    assert image.size == (8160, 6144)


def test_nothing_of_the_decoders_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\x05\0\x12\x01"
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("ignore", module=r"PIL\.")
        decode(saved(noise(), "JPEG", exif=exif), 3)
        decode(saved(noise().quantize(8), "PNG", transparency=bytes(8)), 3)
    assert capfd.readouterr() == ("", "")


def deep_png(*tags: bytes) -> bytes:
    """A picture of noise with chunks between its head and its pixels."""
    whole = saved(noise(), "PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + b"".join(tags) + whole[at:]


@pytest.mark.parametrize(
    ("tags", "change"),
    [
        ([chunk(b"cICP", bytes([12, 13, 0, 1]))], ("Display P3 taken for sRGB",)),
        ([chunk(b"cICP", bytes([9, 16, 0, 1]))], ("Rec. 2020, PQ taken for sRGB",)),
        ([chunk(b"cICP", bytes([1, 13, 0, 1]))], ()),
        ([chunk(b"gAMA", struct.pack(">I", 100_000))], ("gamma 1.00 taken for sRGB",)),
        ([chunk(b"gAMA", struct.pack(">I", 45_455))], ()),
        ([chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100_000))], ()),
    ],
)
def test_colours_without_a_profile_are_said(tags: list[bytes], change: tuple[str, ...]) -> None:
    found, changes = decode(deep_png(*tags), 3)
    assert changes == change
    assert (found == np.asarray(noise())).all()


def test_adobe_rgb_of_a_camera_is_said() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    assert decode(saved(noise(), "JPEG", exif=exif.tobytes()), 3)[1] == (
        "Adobe RGB of EXIF taken for sRGB",
    )


def test_bits_beyond_eight_are_counted_in_formats_that_pillow_cuts() -> None:
    deep = np.asarray(noise()).astype(">u2") * 257
    found, changes = decode(b"P6\n32 32\n65535\n" + deep.tobytes(), 3)
    assert changes == ("more than 8 bits to 8",)
    assert np.abs(found.astype(int) - np.asarray(noise())).max() <= 1
    assert decode(saved(noise(), "PPM"), 3)[1] == ()
    plain = saved(noise(), "AVIF", quality=90)
    at = plain.index(b"av1C") + 6
    high = plain[:at] + bytes([plain[at] | 0x40]) + plain[at + 1 :]
    assert is_deep(open_header(plain)[0], high)
    assert not is_deep(open_header(plain)[0], plain)


def test_whole_numbers_of_32_bits_are_not_taken_for_16() -> None:
    data = saved(Image.fromarray(np.arange(256, dtype=np.int32).reshape(16, 16)), "TIFF")
    with pytest.raises(DataError, match=r"of 32 bits, .* save it with 8 or 16"):
        decode(data, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xc3", "a JPEG without loss"),
        (b"\xff\xc9", "a JPEG of arithmetic coding"),
        (b"\xff\xc0\0\x11\x0c", "a JPEG of 12 bits"),
        (b"II*\0\x08\0\0\0", "of a kind that is not read here"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"\x76\x2f\x31\x01", "OpenEXR"),
        (b"/9j/4AAQSkZJRgABAQ", "base64.*: decode it first"),
        (b"data:image/png;base64,iVBOR", "base64.*: decode it first"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "answer of a web server"),
    ],
)
def test_kinds_that_are_not_read_are_named(data: bytes, said: str) -> None:
    if data.startswith(b"\xff"):
        whole = saved(noise(), "JPEG")
        data = whole.replace(b"\xff\xc0\0\x11\x08"[: len(data)], data, 1)
    with pytest.raises(DataError, match=said):
        decode(data, 3)
