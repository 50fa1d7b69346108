"""How fast images reach a trainer: `python -m bench.stream` prints each cell as JSON.

Against a plain webdataset pipeline over per-sample PNGs with as many threads on as many cores, and
against a memory copy of the same batches.  Each pair is measured in turn, A B A B; a ratio is that
of the medians.  What is read ahead is used up before the clock starts.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from PIL import Image

from pipeline.config.sections import DataConfig
from pipeline.data.format.manifest import Manifest, Split
from pipeline.data.format.shard_list import ShardList
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import CHUNK_BYTES, CHUNK_IMG, Loader
from pipeline.data.loader.shuffle import Shuffle
from pipeline.data.prepare.destination import open_destination
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from stylealae.config import ScheduleConfig
from stylealae.schedule import at_stage

Cell = dict[str, object]
Read = Callable[[float], float]
"""Seconds to read for -> images a second."""

HELD = DataConfig(prefetch=2, decoders=1)
ASKED = {4: 100, 8: 100, 16: 100, 32: 50, 64: 25, 256: 5, 1024: 1.7}
"""How many times faster than PNGs each resolution is to be read."""
LARGE, COPY = 1024, "memory copy"
PHOTOS = Path(__file__).resolve().parents[2] / "shared/data/london1024_20.tar"
"""Faces of the London set, where they are at hand; drawn ones have no grain."""


def raced(name: str, reads: dict[str, Read], *, asked: float, rounds: int, seconds: float) -> Cell:
    """One line: the ratio is the first rate by the second's; further rates stand beside."""
    for read in reads.values():
        read(seconds / 4)
    rates: dict[str, list[float]] = {who: [] for who in reads}
    for _ in range(rounds):
        for who, read in reads.items():
            rates[who].append(read(seconds))
    median = {who: statistics.median(column) for who, column in rates.items()}
    first, second, *_ = median.values()
    return {
        "name": name,
        "ratio": round(first / second, 3),
        "asked": asked,
        "a_img_per_s": round(first, 1),
        "b_img_per_s": round(second, 1),
        **({"limit_img_per_s": round(median[COPY], 1)} if COPY in median else {}),
        "rounds": rounds,
    }


@contextmanager
def on_cores(n: int) -> Iterator[None]:
    """This thread, and those that it starts, have n cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:n])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def timed(step: Callable[[], int], seconds: float) -> float:
    """Images a second of a step that gives back its images."""
    begin, images = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds:
        images += step()
    return images / passed


def batch_of(side: int) -> int:
    """The published batch at a resolution."""
    return at_stage(ScheduleConfig().batch, (side // 4).bit_length() - 1)


def opened(folder: Path, side: int, cfg: DataConfig = HELD) -> Dataset:
    """A data set at one resolution."""
    return Dataset.open(replace(cfg, path=str(folder)), side)


@contextmanager
def streamed(folder: Path, side: int, cfg: DataConfig) -> Iterator[Read]:
    """Our loader at the published batch."""
    batch = batch_of(side)
    ahead = 2 * max(cfg.prefetch, min(CHUNK_IMG, CHUNK_BYTES // (3 * side**2)) // batch)
    with Loader(opened(folder, side, cfg), seed=0) as loader:
        loader.start(0, batch, 1 << 40)
        for _ in range(-(-2 * loader.samples // batch)):  # every image was read and checked
            loader.next()

        def read(seconds: float) -> float:
            for _ in range(ahead):
                loader.next()
            return timed(lambda: len(loader.next().x), seconds)

        yield read


def plain(tar: Path, side: int) -> Read:
    """The usual pipeline: tar, shuffle, decode, batch; uint8 [N, C, R, R] as ours."""
    pipeline = (
        wds.WebDataset(str(tar), shardshuffle=False)
        .repeat()
        .shuffle(1000 if side <= 64 else 100)
        .decode("torchrgb8")
        .to_tuple("png")
        .batched(batch_of(side))
    )
    batches = iter(pipeline)
    return lambda seconds: timed(lambda: len(next(batches)[0]), seconds)


def copied(folder: Path, side: int) -> Read:
    """The limit: a memory copy of a batch."""
    batch = opened(folder, side).first(batch_of(side), "train")
    return lambda seconds: timed(lambda: len(batch.clone()), seconds)


def write_pngs(folder: Path, side: int, tar: Path) -> None:
    """The images of the training split, one PNG a sample."""
    images = opened(folder, side).first(1 << 30, "train")
    with wds.TarWriter(str(tar), mtime=0) as writer:
        for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            writer.write({"__key__": f"{i:08d}", "png": file.getvalue()})


def bench_stream(folder: Path, rounds: int, seconds: float = 1.0) -> Iterator[Cell]:
    """One core: resolutions as they are stored, from memory up to 64x64, mapped above."""
    sets = {"small": ("rendered:600", tuple(ASKED)[:-1]), "large": ("rendered:40", (LARGE,))}
    if PHOTOS.exists():
        sets["photographs"] = (str(PHOTOS), (LARGE,))
    for name, (source, sides) in sets.items():
        prepare(open_source(source, test_fraction=0.0), folder / name, sides)
        for side in sides:
            yield bench_side(folder / name, name, side, rounds, seconds)
    if len(os.sched_getaffinity(0)) > 1:
        yield bench_cores(folder / "large", rounds, seconds)


def bench_side(where: Path, name: str, side: int, rounds: int, seconds: float) -> Cell:
    """Our loader, plain webdataset over PNGs and the memory copy, on one core."""
    cfg = HELD if side <= 64 else replace(HELD, ram_gib=0.0)
    tar = where.with_name(f"{name}-{side}.tar")
    write_pngs(where, side, tar)
    with on_cores(1), streamed(where, side, cfg) as ours:
        return raced(
            f"stream / PNG webdataset, {side}x{side}, a core, {name}",
            {"ours": ours, "plain": plain(tar, side), COPY: copied(where, side)},
            asked=ASKED[side],
            rounds=rounds,
            seconds=seconds,
        )


def bench_cores(where: Path, rounds: int, seconds: float) -> Cell:
    """What a second core, with a second decoder, adds at 1024x1024."""
    cfg = replace(HELD, ram_gib=0.0)
    with ExitStack() as stack:
        with on_cores(1):
            one = stack.enter_context(streamed(where, LARGE, cfg))
        two = stack.enter_context(streamed(where, LARGE, replace(cfg, decoders=2)))
        return raced(
            f"stream, two cores / one, {LARGE}x{LARGE}",
            {"two": two, "one": one},
            asked=1.8,
            rounds=rounds,
            seconds=seconds,
        )


def bench_opening(folder: Path, shards: int = 100_000, shard_img: int = 1000) -> list[Cell]:
    """A set of 100 million images, only its manifest and lists: opened in a fresh process."""
    sides = tuple(4 << k for k in range(9))
    digits = np.random.default_rng(0).bytes(64 * shards).hex()
    hashes = [digits[64 * i : 64 * i + 64] for i in range(2 * shards)]
    columns = {
        "samples": np.full(shards, shard_img),
        "bytes": np.full(shards, 600_000_000),
        "index_at": np.full(shards, 599_900_000),
    }
    lists = {
        side: ShardList(side, sha256=hashes[:shards], index_sha256=hashes[shards:], **columns)
        for side in sides
    }
    digest = lists[4].digest
    manifest = Manifest(
        source="simulated", licence="none", channels=3, resolutions=sides,
        encoding=dict.fromkeys(sides, "block"), downscale="mean2x2", labels=(), broken=0,
        refused=(), enlarged=0, recipe={}, shards=dict.fromkeys(sides, digest),
        splits={"train": Split(shards=shards, samples=shards * shard_img)},
    )  # fmt: skip
    open_destination(folder).complete(manifest, lists)
    told = subprocess.run(
        [sys.executable, "-c", OPENING, str(folder)], check=True, capture_output=True, text=True
    ).stdout
    length = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    name = f"open {shards * shard_img:,} images"
    return [{"name": name, **json.loads(told), "all_lists_mib": length >> 20}]


OPENING = """
import json, sys, time
from bench.peak import peak_mib
from pipeline.config.sections import DataConfig
from pipeline.data.loader.dataset import Dataset
from pipeline.data.loader.loader import Loader
before, begin = peak_mib(), time.perf_counter()
loader = Loader(Dataset.open(DataConfig(path=sys.argv[1]), 1024), seed=0)
positions = loader.sample_ids(123_456_789, 512, 8)
seconds = round(time.perf_counter() - begin, 3)
peaks = {"peak_mib": int(peak_mib()), "of_it_imports_mib": int(before)}
print(json.dumps({"seconds": seconds, **peaks}))
"""


def bench_shuffle() -> list[Cell]:
    """An epoch of FFHQ's size against a full shuffle: displacement, and neighbours that stay."""
    order = Shuffle([1024] * 58 + [608], seed=0, shuffle_img=DataConfig().shuffle_img)
    n = order.samples
    full = np.random.default_rng(0).permutation(n)
    cells: list[Cell] = []
    for name, ids in (("our order", order.at(np.arange(n))[1]), ("a full shuffle", full)):
        moved = float(np.abs(ids - np.arange(n)).mean() / n)
        kept = float((np.abs(np.diff(ids)) == 1).mean())
        cells.append({"name": name, "mean_displacement": round(moved, 4), "pairs_kept": kept})
    return cells


def main() -> None:
    """Every measurement."""
    rounds, seconds = (3, 0.3) if "--quick" in sys.argv else (5, 1.0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opening = bench_opening(folder / "huge")
        for cell in chain(bench_shuffle(), opening, bench_stream(folder, rounds, seconds)):
            print(json.dumps(cell), flush=True)


if __name__ == "__main__":
    main()
