"""How files of images are called."""

from pipeline.data.sources.left_aside import suffix_of

__all__ = ["SUFFIXES", "called_as_picture"]

SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2c", ".j2k"),
        *(".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".mpo"),
        *(".pbm", ".pgm", ".pjp", ".pjpeg", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff"),
        ".webp",
    )
)
"""Endings of what may be an image; what a file is its bytes say, and one of JPEG XL is refused."""


def called_as_picture(name: str) -> bool:
    """Whether a name ends as those of image files do."""
    return suffix_of(name.strip().replace("\\", "/")) in SUFFIXES
