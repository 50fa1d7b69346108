"""Shards: real webdataset tars, the same bytes however made, nothing skipped in silence."""

import errno
import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.prepare import destination, watch
from pipeline.data.prepare.destination import REPORT
from pipeline.data.prepare.shards import prepare
from pipeline.data.prepare.verify import verify
from pipeline.data.sources.file_sources import Folder
from pipeline.data.sources.registry import open_source
from pipeline.data.sources.source import Options, Sample, Source
from stylealae.errors import DataError, UnreachableError
from tests.pipeline.data.handmade import shard_list, shard_path

SIDES = (4, 8, 16, 32)


class Noise(Source):
    """Random images of any number and size, numbered by their label."""

    name = "noise"
    label_names = ("number",)

    def __len__(self) -> int:
        return int(self.input.split("x")[0])

    def key(self, i: int) -> str:
        """A name with dots and a slash."""
        return f"noise/{i}.v1.png"

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i, `count x size`."""
        size = int(self.input.split("x")[1])
        pixels = np.random.default_rng(i).integers(0, 256, (size, size, self.channels), np.uint8)
        return Sample(self.key(i), pixels, {"number": i})


def noise(what: str, **options: object) -> Noise:
    return Noise(what, Options(**options))


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file of a dataset but the lock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def samples(tar: Path) -> list[dict[str, bytes]]:
    """The samples of a tar as plain webdataset gives them."""
    import webdataset as wds  # it loads torch, which the processes that make shards do without

    return list(wds.WebDataset(str(tar), shardshuffle=False, empty_check=False))


def test_plain_webdataset_reads_the_blocks(dataset: Path, photos: Path) -> None:
    files = sorted(photos.glob("*.png"))
    seen = 0
    for number in range(6):
        for sample in samples(shard_path(dataset, number, 32)):
            beside = json.loads(sample["json"])
            assert hashlib.sha256(sample["u8"]).hexdigest() == beside["sha256"]
            block = np.frombuffer(sample["u8"], np.uint8).reshape(beside["shape"])
            for image, key in zip(block, beside["ids"], strict=True):
                assert key == files[seen].name
                stored = np.asarray(Image.open(files[seen])).transpose(2, 0, 1)
                assert (image == stored).all()
                seen += 1
            assert beside["labels"]["age"][0] == int(beside["ids"][0][:3]) / 4
    assert seen == len(files) == 100


def test_smaller_resolutions_are_means_rounded_once(dataset: Path, photos: Path) -> None:
    originals = [np.asarray(Image.open(f), np.float64) for f in sorted(photos.glob("*.png"))[:20]]
    for side in SIDES:
        times = 32 // side
        (sample,) = samples(shard_path(dataset, 0, side))
        block = np.frombuffer(sample["u8"], np.uint8).reshape(20, 3, side, side)
        for image, original in zip(block, originals, strict=True):
            means = original.reshape(side, times, side, times, 3).mean((1, 3))
            assert (image.transpose(1, 2, 0) == np.rint(means)).all()


def test_blocks_are_bounded_and_large_images_are_lossless_webp(tmp_path: Path) -> None:
    manifest = prepare(noise("14x512"), tmp_path / "d", (256, 512), workers=1)
    assert manifest.encoding == {256: "block", 512: "webp"}
    blocks = samples(shard_path(tmp_path / "d", 0, 256))
    assert [json.loads(b["json"])["count"] for b in blocks] == [10, 4]
    singles = samples(shard_path(tmp_path / "d", 0, 512))
    assert [s["__key__"] for s in singles] == [f"{i:08d}" for i in range(14)]
    for i, sample in enumerate(singles):
        decoded = np.asarray(Image.open(io.BytesIO(sample["webp"])))
        assert (decoded == noise("14x512").read(i).image).all()


def test_grey_stays_grey(tmp_path: Path) -> None:
    source = noise("3x32", channels=1)
    prepare(source, tmp_path / "d", (32,), workers=1)
    (sample,) = samples(shard_path(tmp_path / "d", 0, 32))
    assert json.loads(sample["json"])["shape"] == [3, 1, 32, 32]


def test_any_number_of_workers_writes_the_same_bytes(
    photos: Path, dataset: Path, tmp_path: Path
) -> None:
    """Of one, which made `dataset`, and of several."""
    source = open_source(str(photos))
    manifest = prepare(source, tmp_path / "d", SIDES, workers=3, shard_img=20)
    assert contents(tmp_path / "d") == contents(dataset)
    assert manifest == Manifest.read(dataset)


class Endless(Noise):
    """Random images, the reading of one of which never ends."""

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i, if it is not 3."""
        while i == 3:
            pass
        return super().read(i, side)


def test_an_image_that_takes_for_ever_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is ended, and the others are those of a set without it."""
    monkeypatch.setattr(watch, "LIMIT_S", 0.3)
    counted: list[int] = []
    made = prepare(
        Endless("6x8", Options(test_fraction=0)), tmp_path / "d", (8,), report=lambda n, _:
        counted.append(n)
    )  # fmt: skip
    (refused,) = made.refused
    assert refused.name == "noise/3.v1.png"
    assert "seconds to read: save it anew" in refused.reason
    assert max(counted) <= 6
    assert not list(verify(tmp_path / "d"))
    (sample,) = samples(shard_path(tmp_path / "d", 0, 8))
    assert json.loads(sample["json"])["labels"]["number"] == [0, 1, 2, 4, 5]


class Interrupted(Folder):
    """A folder during whose reading somebody presses Ctrl-C."""

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i, unless it is the fiftieth."""
        if i == 50:
            raise KeyboardInterrupt
        return super().read(i, side)


def test_interrupted_and_run_again(photos: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "d"
    with pytest.raises(KeyboardInterrupt):
        prepare(Interrupted(str(photos), Options()), out, SIDES, workers=1, shard_img=20)
    assert not (out / MANIFEST).exists()
    assert not list(out.rglob("*.partial"))
    first = shard_path(out, 0, 32).stat()
    prepare(open_source(str(photos)), out, SIDES, workers=1, shard_img=20)
    assert contents(out) == contents(dataset)
    assert shard_path(out, 0, 32).stat().st_mtime_ns == first.st_mtime_ns


class Unplugged(Folder):
    """A folder whose drive is gone before one of its images is read."""

    def read(self, i: int, side: int = 256) -> Sample:
        """Image i, for which and for later ones the folder is not there."""
        if i == 25:
            os.rename(self.input, f"{self.input} elsewhere")
        return super().read(i, side)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_input_that_is_gone_is_no_heap_of_bad_images(
    photos: Path, dataset: Path, tmp_path: Path, workers: int
) -> None:
    whole, out = shutil.copytree(photos, tmp_path / "photos"), tmp_path / "d"
    with pytest.raises(UnreachableError, match=r"no longer be read \(No such file.*goes on: fin"):
        prepare(Unplugged(str(whole), Options()), out, SIDES, workers=workers, shard_img=20)
    assert not (out / ".prepare" / "000001.json").exists()
    os.rename(f"{whole} elsewhere", whole)
    assert prepare(open_source(str(whole)), out, SIDES, workers=1, shard_img=20).broken == 0
    assert contents(out) == contents(dataset)


class ElsewhereShut(Noise):
    """Random images, which no other process may open."""

    def __init__(self, input: str, options: Options) -> None:
        """Open it, in the first process."""
        if multiprocessing.parent_process() is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), input)
        super().__init__(input, options)


def test_why_a_worker_cannot_open_the_input_is_said(tmp_path: Path) -> None:
    source = ElsewhereShut("6x8", Options())
    with pytest.raises(DataError, match=r"^6x8 cannot be read \(.*Permission denied: '6x8'\)$"):
        prepare(source, tmp_path / "d", (8,), workers=2, shard_img=2)


def test_workers_that_cannot_begin_are_not_said_to_want_memory(tmp_path: Path) -> None:
    """In a program that runs itself once more in each of them."""
    (tmp_path / "run.py").write_text(
        "from pathlib import Path\n"
        "from pipeline.data.prepare.shards import prepare\n"
        "from pipeline.data.sources.registry import open_source\n"
        f"prepare(open_source('rendered:4'), Path({str(tmp_path / 'd')!r}), (8,), workers=2,"
        " shard_img=2)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no worker process could begin, for the reason that it gives above" in done.stderr
    assert "want of memory" not in done.stderr


def test_a_source_that_says_nothing_of_its_reach_is_no_full_disk(tmp_path: Path) -> None:
    class Torn(Noise):
        def read(self, i: int, side: int = 256) -> Sample:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(UnreachableError, match=r"0\.v1\.png .*\(Input/output error\): see to"):
        prepare(Torn("3x8", Options()), tmp_path / "d", (8,), workers=1)


def test_who_holds_the_lock_for_a_moment_is_waited_for_and_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (noise("2x8"), tmp_path / "d", (8,))
    prepare(*given, workers=1)
    with (tmp_path / "d" / ".prepare" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        leave = threading.Timer(0.3, fcntl.flock, (lock, fcntl.LOCK_UN))
        leave.start()
        prepare(*given, workers=1)
        leave.join()
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(destination, "LOCK_S", 0.1)
        with pytest.raises(DataError, match="let it finish first"):
            prepare(*given, workers=1)


def test_ctrl_c_stops_all_processes_cleanly(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import signal\n"
        "from pathlib import Path\n"
        "from pipeline.data.prepare.shards import prepare\n"
        "from pipeline.data.sources.registry import open_source\n"
        "if __name__ == '__main__':\n"
        # A background shell hands its children a SIGINT that is ignored.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"    source = open_source({str(tmp_path / 'photo')!r}, test_fraction=0.0)\n"
        f"    prepare(source, Path({str(tmp_path / 'd')!r}), (64,), workers=2, shard_img=100)\n"
    )
    (tmp_path / "photo").mkdir()
    image = tmp_path / "photo" / "0000.png"
    Image.fromarray(noise("1x300").read(0).image).save(image)
    for i in range(1, 2000):
        os.link(image, image.with_name(f"{i:04d}.png"))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=env, start_new_session=True, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 240
    while not list((tmp_path / "d").glob("r0064/*.tar")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert errors.count(b"Traceback") <= 1, errors.decode()
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "d" / MANIFEST).exists()


@pytest.mark.early
def test_killed_in_the_middle_and_run_again(tmp_path: Path) -> None:
    """Kill -9 of the parent: its workers stop by themselves, and nothing of them shows.

    It goes on with one worker: how many there are shows in no byte.
    """
    (tmp_path / "photo").mkdir()
    image = tmp_path / "photo" / "0000.png"
    Image.fromarray(noise("1x300").read(0).image).save(image)
    for i in range(1, 300):
        os.link(image, image.with_name(f"{i:04d}.png"))
    arguments = f"open_source({str(image.parent)!r}), Path(OUT), (64,), workers=2, shard_img=25"
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from pipeline.data.prepare.shards import prepare\n"
        "from pipeline.data.sources.registry import open_source\n"
        f"if __name__ == '__main__':\n    OUT = sys.argv[1]\n    prepare({arguments})\n"
    )
    (tmp_path / "run.py").write_text(script)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "killed")]
    source = open_source(str(image.parent))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    below: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("r0064/*.tar"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        below = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.02)
    process.kill()
    process.wait()
    shutil.copy(image, tmp_path / "killed" / "r0064" / ".000099.tar.0123.partial")
    assert not (tmp_path / "killed" / MANIFEST).exists()
    assert below
    assert not psutil.wait_procs(below, timeout=20)[1]
    for out in ("killed", "whole"):
        prepare(source, tmp_path / out, (64,), workers=1, shard_img=25)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_complete_dataset_is_left_alone(photos: Path, dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    for path in copy.rglob("*"):
        if path.is_file() and path.name != "lock":
            path.chmod(0o400)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")}
    manifest = prepare(open_source(str(photos)), copy, SIDES, shard_img=20)
    assert manifest == Manifest.read(dataset)
    assert before == {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")}


@pytest.mark.parametrize("harm", ["deleted", "cut"])
def test_only_a_missing_shard_is_made_again(
    harm: str, photos: Path, dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    tar = shard_path(copy, 2, 8)
    if harm == "deleted":
        tar.unlink()
    else:
        tar.write_bytes(tar.read_bytes()[:-1000])
    prepare(open_source(str(photos)), copy, SIDES, workers=1, shard_img=20)
    assert contents(copy) == contents(dataset)


def test_other_options_are_not_mixed_in(photos: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shard_img was '20' and is now '50'"):
        prepare(open_source(str(photos)), dataset, SIDES, shard_img=50)
    with pytest.raises(DataError, match="resolutions was '4 8 16 32' and is now '4'"):
        prepare(open_source(str(photos)), dataset, (4,), shard_img=20)
    with pytest.raises(DataError, match="choose an empty folder"):
        prepare(open_source(str(photos)), photos, SIDES)
    with pytest.raises(DataError, match="powers of two"):
        prepare(open_source(str(photos)), tmp_path, (4, 6))


@pytest.fixture
def damaged(photos: Path, tmp_path: Path) -> Path:
    """Four good pictures and three that are none."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for photo in sorted(photos.glob("*.png"))[:4]:
        shutil.copy(photo, folder)
    (folder / "001.cut.jpg").write_bytes(b"")
    (folder / "002.text.png").write_text("not an image at all")
    Image.fromarray(noise("1x64").read(0).image).save(folder / "003.half.jpg")
    half = (folder / "003.half.jpg").read_bytes()
    (folder / "003.half.jpg").write_bytes(half[: len(half) // 2])
    return folder


def test_bad_files_are_named_and_counted(
    damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = prepare(open_source(str(damaged)), tmp_path / "d", (16,), workers=1, shard_img=4)
    assert manifest.broken == 3
    reasons = {entry.name: entry.reason for entry in manifest.refused}
    assert list(reasons) == ["001.cut.jpg", "002.text.png", "003.half.jpg"]
    assert "0 bytes" in reasons["001.cut.jpg"]
    assert "no image" in reasons["002.text.png"]
    made = shard_list(tmp_path / "d", 16)
    assert made.samples.tolist() == [2, 2]  # fixed ranges of four files
    assert "3 of 7 images were refused" in caplog.text
    assert "001.cut.jpg" in caplog.text
    assert list(verify(tmp_path / "d")) == []


def test_too_many_bad_files_stop(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"max_broken is 2; one is 001\.cut\.jpg: .*0 bytes"):
        prepare(open_source(str(damaged)), tmp_path / "d", (16,), workers=1, max_broken=2)
    for photo in damaged.glob("*.v1.png"):
        photo.unlink()
    with pytest.raises(DataError, match="none of the 3 images"):
        prepare(open_source(str(damaged)), tmp_path / "e", (16,), workers=1)


def test_strict_stops_at_the_very_first(damaged: Path, tmp_path: Path) -> None:
    read = []

    class Watched(Folder):
        def read(self, i: int, side: int = 256) -> Sample:
            """Image i; the call is noted."""
            read.append(i)
            return super().read(i, side)

    source = Watched(str(damaged), Options())
    with pytest.raises(DataError, match=r"one is 001\.cut\.jpg: the file is empty \(0 bytes\)"):
        prepare(source, tmp_path / "d", (16,), workers=1, max_broken=0)
    assert read == [0, 1]
    assert not list((tmp_path / "d").rglob("*.partial"))


def test_the_report_counts_what_was_converted_and_names_what_was_refused(
    damaged: Path, tmp_path: Path
) -> None:
    wide = Image.fromarray(noise("1x64").read(0).image).resize((80, 64))
    wide.convert("L").save(damaged / "a.png")
    wide.convert("CMYK").save(damaged / "b.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(damaged / "c.jpg", exif=exif)
    prepare(open_source(str(damaged)), tmp_path / "d", (64,), workers=1, shard_img=3)
    report = json.loads((tmp_path / "d" / REPORT).read_text())
    assert (report["images"], report["used"]) == (10, 7)
    assert report["converted"] == {
        "CMYK to RGB": 1,
        "cropped to a square": 3,
        "enlarged": 4,
        "grey to RGB": 1,
        "turned upright": 1,
    }
    assert [entry["name"] for entry in report["refused"]] == [
        "001.cut.jpg",
        "002.text.png",
        "003.half.jpg",
    ]


def test_a_border_instead_of_a_crop(tmp_path: Path) -> None:
    (tmp_path / "wide").mkdir()
    Image.new("RGB", (32, 16), (200, 200, 200)).save(tmp_path / "wide" / "a.png")
    source = open_source(str(tmp_path / "wide"))
    prepare(source, tmp_path / "d", (32,), fit="pad", workers=1)
    (sample,) = samples(shard_path(tmp_path / "d", 0, 32))
    image = np.frombuffer(sample["u8"], np.uint8).reshape(3, 32, 32)
    assert (image[:, 8:24] == 200).all()
    assert (image[:, :8] == 0).all()
    with pytest.raises(DataError, match="fit was 'pad' and is now 'crop'"):
        prepare(source, tmp_path / "d", (32,), workers=1)


def test_enlarging_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert prepare(noise("2x20"), tmp_path / "d", (4, 32), workers=1).enlarged == 2
    assert "2 images were smaller than 32" in caplog.text
