"""Preparing images against its limit: the same files decoded and encoded, and nothing else done.

The limit reads and decodes each file, encodes its pyramid, made beforehand, as a shard stores it
(raw blocks up to 256x256, a lossless WebP above), and writes that with webdataset's TarWriter. What
`prepare` does beside, the pyramid, labels, hashes and fsync, is what the ratio shows. Both sides
run in the same two processes, which are there before the clock starts.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from PIL import Image
from webdataset.writer import TarWriter

from pipeline.data import pixels
from pipeline.data.decoding import decode
from pipeline.data.prepare.destination import open_destination
from pipeline.data.prepare.jobs import PrepareOptions, ShardJob
from pipeline.data.prepare.shards import make_shard
from pipeline.data.prepare.writer import BLOCK_BYTES, _webp, encoding_of
from pipeline.data.rendered.faces import render
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.source import Source

__all__ = ["bench_prepare"]

Compare = Callable[..., dict[str, object]]
WORKERS = 2
DISTINCT = 16
"""Pictures that are drawn; further files are copies of them."""


def bench_prepare(compare: Compare, rounds: int) -> list[dict[str, object]]:
    """Cells for PNG files of 256 (raw blocks) and 1024 (lossless WebP); `compare` times them."""
    return [bench_side(compare, 256, 1024, rounds), bench_side(compare, 1024, 32, rounds)]


def bench_side(compare: Compare, side: int, images: int, rounds: int) -> dict[str, object]:
    """`images` files of `side` x `side` pixels, prepared from 4 up to that side."""
    sides = tuple(4 << k for k in range(9) if 4 << k <= side)
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "photos", Path(scratch) / "set"
        write_photos(folder, side, images)
        share, how = images // WORKERS, PrepareOptions(resolutions=sides)
        place = open_destination(out)
        jobs = [
            ShardJob(k, "train", k * share, (k + 1) * share, place, how) for k in range(WORKERS)
        ]
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, spawn, begin, (str(folder), sides)) as pool:
            return compare(
                f"prepare / decode + encode, {side}x{side}",
                lambda _: list(pool.map(make, jobs)),
                lambda _: list(pool.map(decode_and_encode, jobs)),
                rounds=rounds,
                images=images,
            )


def write_photos(folder: Path, side: int, images: int) -> None:
    """PNG files with grain, so that they are as hard to decode as photographs."""
    folder.mkdir()
    for i in range(DISTINCT):
        grain = np.random.default_rng(i).normal(0, 4, (side, side, 3))
        image = np.clip(render(i, side)[0] + grain, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{i:05d}.png", compress_level=4)
    for i in range(DISTINCT, images):
        (folder / f"{i:05d}.png").hardlink_to(folder / f"{i % DISTINCT:05d}.png")


_source: Source
_files: list[Path]
_pyramids: list[dict[int, pixels.Pixels]]


def begin(folder: str, sides: tuple[int, ...]) -> None:
    """In each process: the source, and for the limit the files and the pyramids of the pictures."""
    global _source, _files, _pyramids
    _source = open_source(folder)
    _files = sorted(Path(folder).iterdir())
    images = (decode(path.read_bytes(), 3)[0] for path in _files[:DISTINCT])
    _pyramids = [pixels.pyramid(pixels.square(x, sides[-1])[0], sides) for x in images]


def _no_tick(images: int = 1) -> None:
    """Nobody is told."""


def make(job: ShardJob) -> int:
    """One shard, as `prepare` makes it."""
    return int(make_shard(_source, job, _no_tick)["samples"])


def decode_and_encode(job: ShardJob) -> int:
    """The same images through decoder, encoders and a plain TarWriter a resolution."""
    with ExitStack() as stack:
        writers = {}
        for side in job.how.resolutions:
            file = stack.enter_context(TemporaryFile(buffering=BLOCK_BYTES))
            writers[side] = stack.enter_context(TarWriter(file, encoder=False, mtime=0))
        held: dict[int, list[bytes]] = {side: [] for side in writers}
        for i in range(job.start, job.stop):
            decode(_files[i].read_bytes(), 3)
            for side, image in _pyramids[i % DISTINCT].items():
                whole = encoding_of(side) == "webp"
                held[side].append(_webp(image) if whole else image.tobytes())
                if whole or (len(held[side]) + 1) * image.nbytes > BLOCK_BYTES or i + 1 == job.stop:
                    writers[side].write({"__key__": f"{i:08d}", "x": b"".join(held[side])})
                    held[side].clear()
    return job.images
