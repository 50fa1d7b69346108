"""What to do with files that are no images, where an input holds nothing else."""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

__all__ = ["advice"]

_UNPACK = "unpack them first"
_EXPORT = "export them as PNG"
_WRITE = "write the images as PNG files"
_BY_SUFFIX = {
    **dict.fromkeys(("zip", "tar", "tgz", "gz", "bz2", "xz", "txz", "zst", "7z", "rar"), _UNPACK),
    **dict.fromkeys(("npy", "npz", "mat", "h5", "hdf5", "pkl", "pickle", "pt", "pth"), _WRITE),
    **dict.fromkeys(("beton", "bin", "db", "lmdb", "rec", "sqlite"), _WRITE),
    **dict.fromkeys(("arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "rw2"), _EXPORT),
    **dict.fromkeys(("exr", "hdr", "ico", "pcx", "pdf", "pfm", "psd", "sgi", "xcf"), _EXPORT),
    **dict.fromkeys(("mp4", "mov", "avi", "mkv", "webm"), "export their frames as PNG"),
    "arrow": "write the data set as Parquet (Dataset.to_parquet)",
    "mdb": "give the folder in which data.mdb lies",
    "svg": _EXPORT,
    "parquet": "give the folder that they lie in, or one of them",
    "csv": "give the folder of the images, and the table with --labels",
}


def advice(names: Iterable[str], suffixes: Collection[str]) -> str:
    """The end of a sentence on files of which none is an image; empty without any advice.

    Args:
        names: of the files.
        suffixes: with which the names of images end.
    """
    said = Counter(found for name in names if (found := _of(PurePosixPath(name).name, suffixes)))
    return f": {said.most_common(1)[0][0]}" if said else ""


def _of(name: str, suffixes: Collection[str]) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    if name.removesuffix(".gz").endswith("-ubyte"):
        return "give the folder in which the -ubyte files lie"
    if ".tfrecord" in name and suffix != ".gz":
        return "StyleGAN's TFRecords are read, whose names end in -r02.tfrecords and the like"
    if name.startswith(("data_batch", "test_batch", "batches.meta")):  # CIFAR's pickles
        return _WRITE
    if not suffix or any(suffix.startswith(known) for known in suffixes):
        return "if they are images, give their names an ending such as .jpg"
    return _BY_SUFFIX.get(suffix[1:], "")
