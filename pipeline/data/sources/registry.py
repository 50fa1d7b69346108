"""The sources by name, and how an input is recognised."""

import hashlib
import importlib
from collections.abc import Collection
from pathlib import Path

from pipeline.data.format.manifest import MANIFEST
from pipeline.data.pixels import recoloured
from pipeline.data.sources.celebahq import CelebaHQ
from pipeline.data.sources.containers import entries_of, open_container
from pipeline.data.sources.ffhq import Ffhq
from pipeline.data.sources.file_sources import Folder, Tar, Zip
from pipeline.data.sources.files import Files
from pipeline.data.sources.hub_parquet import HubParquet
from pipeline.data.sources.idx import Idx
from pipeline.data.sources.left_aside import suffix_of
from pipeline.data.sources.lsun import Lsun
from pipeline.data.sources.parquet import Parquet
from pipeline.data.sources.pictures import SUFFIXES
from pipeline.data.sources.source import Options, Sample, Source
from pipeline.data.sources.stylegan import StyleganZip
from pipeline.data.sources.tfrecord import TfRecord
from pipeline.storage import is_url, local_path
from stylealae.errors import DataError, did_you_mean
from stylealae.interop import hub

__all__ = ["SOURCES", "open_source"]


MOST_DIGITS = 9  # of a number of drawn faces


class Rendered(Source):
    """`rendered:6000`: that many drawn faces, the same everywhere, their parameters as labels."""

    name = "rendered"
    licence = "CC0-1.0 (drawn by this program)"
    decodes = False

    def __init__(self, input: str, options: Options) -> None:
        """Read the count from `rendered:6000` or `6000`."""
        super().__init__(input, options)
        count = input.removeprefix("rendered").removeprefix(":") or "6000"
        if not count.isdecimal() or len(count) > MOST_DIGITS or int(count) == 0:
            raise DataError(
                f"{input!r} states no number of images, from 1 to {10**MOST_DIGITS - 1:,}: write "
                "for example rendered:6000"
            )
        self._count = int(count)
        self._render = importlib.import_module("pipeline.data.rendered.faces").render
        pixels, labels = self._render(0, 32)
        self.label_names = tuple(sorted(labels))
        self.fingerprint = hashlib.sha256(pixels.tobytes()).hexdigest()  # of the drawing program

    @classmethod
    def fits(cls, path: Path, entries: Collection[str]) -> bool:
        """Whether it is written as `rendered` or `rendered:6000`, and is no folder of this name."""
        return str(path).partition(":")[0] == "rendered" and not path.exists()

    def __len__(self) -> int:
        return self._count

    def key(self, i: int) -> str:
        """Name of image i."""
        return f"rendered-{i:08d}"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i, drawn `side` pixels wide."""
        pixels, labels = self._render(i, side)
        image, changes = recoloured(pixels, self.channels)
        return Sample(self.key(i), image, labels, changes)


KINDS: tuple[type[Source], ...] = (
    *(Rendered, Idx, TfRecord, Lsun, Parquet),
    *(Ffhq, StyleganZip, CelebaHQ, Tar, Folder, Zip),
)
"""In the order in which an input is tried on them: the general ones last."""
SOURCES: dict[str, type[Source]] = {kind.name: kind for kind in KINDS}


def open_source(
    input: str,
    name: str = "auto",
    *,
    channels: int | None = None,
    test_fraction: float | None = None,
    licence: str | None = None,
    labels: str | None = None,
    folder_labels: bool = False,
) -> Source:
    """The images of `input`: a path, `rendered:6000`, or `hf://datasets/owner/name`.

    Of the hub also a folder and a revision, `owner/name/folder@revision`. `auto` finds out what a
    path holds.

    `channels` 1 or 3 overrides the source's own. `test_fraction` of the images, from the end, form
    the test split; without it, those that the input sets aside itself, else 1/50, but at least 16
    of 64 and more. `labels` is a file of labels to take instead of the source's own; with
    `folder_labels` the folder that an image lies in is one too.
    """
    input = _located(input)
    options = Options(
        channels=channels, test_fraction=test_fraction, licence=licence, labels=labels,
        folder_labels=folder_labels,
    )  # fmt: skip
    try:
        kind = _kind_of(input, name)
        if labels is not None and not kind.takes_labels:
            raise DataError(
                f"{input} brings its own labels, {labels} cannot replace them: leave it out"
            )
        if folder_labels and not issubclass(kind, Files):
            raise DataError(f"{input} has no folders of images: leave --folder-labels out")
        source = kind(input, options)
    except OSError as error:
        raise DataError(f"{input} cannot be read ({error})") from error
    source.report()
    return source


def _located(input: str) -> str:
    """The input as a path, also of `~` or file://, or hf://; DataError for another address."""
    if not input:
        raise DataError("the input is empty: name a folder, zip or tar of images")
    if input.startswith(hub.SCHEME):
        return input
    where = local_path(input)
    if is_url(where):
        raise DataError(f"{input} cannot be read from where it lies: copy it to this host first")
    return where


def _kind_of(input: str, name: str) -> type[Source]:
    path = Path(input)
    if input.startswith(hub.SCHEME):
        return HubParquet
    if name not in ("auto", *SOURCES):
        raise DataError(f"there is no source {name!r}: choose {', '.join(SOURCES)} or auto")
    if name == Rendered.name or (name == "auto" and Rendered.fits(path, ())):
        return Rendered
    if not path.exists():
        mend = did_you_mean(path) or ": give a folder, zip or tar of images, or rendered:6000"
        if input.isdecimal():
            mend = f": for {input} drawn faces write rendered:{input}"
        raise DataError(f"{input} does not exist{mend}")
    if (path / MANIFEST).is_file() and (path / ".prepare").is_dir():
        raise DataError(f"{input} is a prepared data set already: train on it with data.path")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{input} is neither a file nor a folder, but a pipe or a device")
    entries = entries_of(path)
    if name == CelebaHQ.name and Parquet.fits(path, entries):
        return Parquet  # as Hugging Face hands it out
    if name != "auto":
        return SOURCES[name]
    kind = next((kind for kind in KINDS if kind.fits(path, entries)), None)
    if kind is None:
        if suffix_of(path.name) in SUFFIXES:
            raise DataError(f"{input} is one image: give a folder, zip or tar of them")
        if path.name.removesuffix(".gz").endswith("-ubyte") or path.suffix == ".mdb":
            what = "LMDB" if path.suffix == ".mdb" else "IDX"
            raise DataError(f"{input} is one file of {what}: give the folder in which it lies")
        open_container(input)  # says what is wrong with it
        raise DataError(f"{input} is of no kind that is known: name it with --source")
    return kind
