"""What a file is that is no image: told by its first bytes, with what to do about it."""

__all__ = [
    "compression",
    "instead_of_container",
    "instead_of_table",
    "is_heif",
    "naming",
    "stand_in",
]

_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_TIFF = (
    "it is a TIFF that is cut short or of a kind that is not read here (of floating point, say), "
    "or a camera's raw file: export it as PNG or JPEG"
)
_TEXT = "it is an image that was written as text (base64): decode it first"
_BEGINNINGS = {
    b"version https://git-lfs": "it is a Git LFS pointer, not the image: run `git lfs pull`",
    b"\xff\x0a": "it is JPEG XL, which is not read here: export it as JPEG or PNG",
    b"\0\0\0\x0cJXL ": "it is JPEG XL, which is not read here: export it as JPEG or PNG",
    b"%PDF": "it is a PDF, not an image: export its pages as PNG",
    b"%!PS": "it is no image of a known format, but PostScript: export it as PNG",
    b"8BPS": "it is a Photoshop document, which is not read here: export it as PNG",
    b"PK\x03\x04": "it is a zip, not an image: unpack it",
    b"\x1f\x8b": "it is compressed by gzip: unpack it",
    b"Rar!": "it is a RAR archive, not an image: unpack it",
    b"7z\xbc\xaf": "it is a 7z archive, not an image: unpack it",
    b"FUJIFILM": "it is a camera's raw file, which is not read here: export it as JPEG",
    b"IIRO": "it is a camera's raw file, which is not read here: export it as JPEG",
    b"IIU\0": "it is a camera's raw file, which is not read here: export it as JPEG",
    b"\xff\xd8\xff": "it begins as a JPEG, and its header is damaged: fetch it again",
    b"\x89PNG": "it begins as a PNG, and its header is damaged: fetch it again",
    b"II*\0": _TIFF,
    b"II+\0": _TIFF,
    b"MM\0*": _TIFF,
    b"\0\0\1\0": "it is an icon (ICO): export it as PNG",
    b"\x76\x2f\x31\x01": "it is OpenEXR, of floating point: export it as PNG",
    b"#?RADIANCE": "it is Radiance HDR, of floating point: export it as PNG",
    b"qoif": "it is QOI, which is not read here: export it as PNG",
    b"\x93NUMPY": "it is a NumPy array: write its images as PNG",
    b"SIMPLE  =": "it is FITS, of astronomy: export it as PNG",
    b"DDS ": "it is a texture (DDS): export it as PNG",
    b"HTTP/": "it is an answer of a web server with its head: fetch it again",
    b"data:image": _TEXT,
    b"/9j/": _TEXT,
    b"iVBORw0KGgo": _TEXT,
    b"{": "it is JSON, not an image: the download failed",
    b"[": "it is JSON, not an image: the download failed",
}
_FRAMES = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), ""),
    0xC3: "without loss",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "of several sizes"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB), "of arithmetic coding"),
}
"""Markers that begin the frame of a JPEG, and what a frame of theirs is; nothing for usual ones."""
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_ARCHIVES = {
    b"Rar!": "it is a RAR archive: unpack it, and give the folder",
    b"7z\xbc\xaf": "it is a 7z archive: unpack it, and give the folder",
    b"\x89HDF": "it is HDF5: write its images as PNG files, and give their folder",
    b"MATLAB": "it is MATLAB's: write its images as PNG files, and give their folder",
    b"\x93NUMPY": "it is a NumPy array: write its images as PNG files, and give their folder",
    **{
        bytes([0x80, protocol]): "it is a pickle, which may run anything: write its images as PNG"
        for protocol in (2, 3, 4, 5)
    },
    b"ARROW1": "it is Arrow: write the data set as Parquet (Dataset.to_parquet)",
    b"SQLite": "it is an SQLite database: write its images as PNG files, and give their folder",
    b"%PDF": "it is a PDF: export its pages as PNG, and give their folder",
}
_TABLES = {
    b"PK\x03\x04": "it is an Excel workbook or another zip: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "it is an Excel workbook: save the sheet as CSV",
    b"\x93NUMPY": "it is a NumPy array, which names no images: write a CSV with their file names",
    **{
        bytes([0x80, protocol]): "it is a pickle, which may run anything: write a CSV"
        for protocol in (2, 3, 4, 5)
    },
    b"SQLite": "it is an SQLite database: export the table as CSV",
}


def instead_of_container(start: bytes) -> str:
    """What a file is that is neither a zip nor a tar, by its first bytes, and what to do."""
    if said := stand_in(start) or compression(start):
        return said
    if start.startswith(b"PK"):
        return "it is a zip that is cut short, or a part of one: fetch it again, or join the parts"
    for beginning, sentence in _ARCHIVES.items():
        if start.startswith(beginning):
            return sentence
    if start[4:8] == b"ftyp":
        return "it is a video or a photo: export its frames as PNG, and give their folder"
    if _is_text(start):
        return "it is a text: give the images, and a table of them with --labels"
    return "pack the images as one of them"


def instead_of_table(start: bytes) -> str | None:
    """What a file is that is no table in text, by its first bytes; None if it may be one."""
    if said := stand_in(start) or compression(start):
        return said
    return next((said for begin, said in _TABLES.items() if start.startswith(begin)), None)


def compression(start: bytes) -> str | None:
    """By what a file is compressed, and what to do about it; None for what is not."""
    for beginning, name in _COMPRESSED.items():
        if start.startswith(beginning):
            return f"it is compressed by {name}, and cannot be read in place: unpack it first"
    return None


def _is_text(start: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)


def unread_jpeg(data: bytes) -> str | None:
    """What kind of JPEG it is, if its frame is of one that few programs write; None if not."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 5 < len(data):
        marker = data[at + 1]
        if marker in _FRAMES:
            kind = _FRAMES[marker] or (f"of {data[at + 4]} bits" if data[at + 4] != 8 else "")
            return f"it is a JPEG {kind}, which is not read here: save it anew" if kind else None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def is_heif(data: bytes) -> bool:
    """Whether the bytes begin as an HEIC or HEIF image, which Pillow does not read by itself."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF


def stand_in(start: bytes) -> str | None:
    """What stands in place of a file that was to be fetched, by its first bytes; None for none."""
    if not start:
        return "it is empty (0 bytes): fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file: run `git lfs pull`"
    if b"/annex/objects/" in start[:512]:
        return "it is a git-annex pointer, not the file: run `git annex get`"
    if start.lstrip().startswith(b"<"):
        return "it is a web page: the download failed, fetch it again"
    return None


def naming(data: bytes) -> str:
    """What the bytes are instead of an image, as a sentence; they are not empty."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not data.strip(b"\0"):
        return f"it holds {len(data):,} zero bytes and nothing else: the copy failed"
    if start.startswith(b"<"):
        return _naming_markup(start.lower())
    if data[4:8] == b"ftyp":
        return _naming_media(data[8:12])
    if data[128:132] == b"DICM":
        return "it is DICOM, of medicine: export it as PNG"
    if data[8:12] == b"AVI ":
        return "it is a video, not an image: export its frames as PNG"
    if b"/annex/objects/" in start[:512]:
        return "it is a git-annex pointer, not the image: run `git annex get`"
    if start.startswith(b"\xff\xd8\xff") and (kind := unread_jpeg(data)):
        return kind
    for beginning, said in _BEGINNINGS.items():
        if start.startswith(beginning):
            return said
    if _is_text(start):
        return "it is no image of a known format, but a text"
    return "it is no image of a known format"


def _naming_markup(start: bytes) -> str:
    if b"<svg" in start:
        return "it is an SVG drawing, which has no pixels: export it as PNG"
    if start.startswith(b"<?xml") and b"<html" not in start:
        return "it is XML, not an image: the download failed"
    return "it is a web page, not an image: the download failed"


def _naming_media(brand: bytes) -> str:
    if brand in _HEIF:
        return (
            "it is HEIC: cut short or damaged, or pillow-heif is missing, which reads it "
            "(pip install 'stylealae[heic]')"
        )
    if brand in (b"avif", b"avis"):
        return "it is AVIF: cut short or damaged, or this Pillow cannot read it: fetch it again"
    if brand == b"crx ":
        return "it is a camera's raw file, which is not read here: export it as JPEG"
    return "it is a video, not an image: export its frames as PNG"
