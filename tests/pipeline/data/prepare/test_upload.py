"""Datasets prepared straight into an object store: real S3 traffic on loopback, killed and cut."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
import torch
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.cli.app import main
from pipeline.config.sections import DataConfig
from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.prepare.destination import RECIPE, open_destination
from pipeline.data.prepare.shards import prepare
from pipeline.data.prepare.verify import verify
from pipeline.data.sources.registry import open_source
from pipeline.storage import object_store
from pipeline.storage.object_store import ObjectStorage
from stylealae.errors import DataError
from tests.pipeline.data.handmade import loader_of

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
from tests.pipeline.storage.bucket import Bucket, Fault, bucket

URL = "s3://made/some/set"
SIDES = (8, 16)


@pytest.fixture(scope="module")
def running() -> Iterator[Bucket]:
    with bucket() as found:
        yield found


@pytest.fixture
def store(running: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket that behaves well at first."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setattr(running, "misbehave", lambda method, path: None)
    monkeypatch.setattr(running, "delay_s", 0.0)
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.mkdirs("made", exist_ok=True)
    if fs.exists("made/some"):
        fs.rm("made/some", recursive=True)
    running.served.clear()
    return running


@pytest.fixture(scope="module")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos prepared into a folder: four shards of two resolutions."""
    out = tmp_path_factory.mktemp("local") / "set"
    prepare(open_source(str(photos)), out, SIDES, workers=1, shard_img=30)
    return out


def upload(photos: Path, where: str = URL, workers: int = 1, sides: tuple[int, ...] = SIDES):
    return prepare(open_source(str(photos)), where, sides, workers=workers, shard_img=30)


def contents(where: str | Path) -> dict[str, bytes]:
    """Every file of a dataset, its recipe and notes too."""
    fs, root = fsspec.core.url_to_fs(str(where), use_listings_cache=False)
    return {
        name.removeprefix(root).lstrip("/"): fs.cat_file(name)
        for name in fs.find(root)
        if not name.endswith("/lock")
    }


def puts(store: Bucket, suffix: str) -> list[str]:
    return [path for method, path, _ in store.served if method == "PUT" and path.endswith(suffix)]


def test_a_bucket_holds_what_a_folder_holds(
    store: Bucket, photos: Path, local: Path, tmp_path: Path
) -> None:
    manifest = upload(photos)
    assert contents(URL) == contents(local)
    assert manifest == Manifest.read(URL)
    assert list(verify(URL)) == []
    cfg = DataConfig(shuffle_img=40, cache=str(tmp_path / "cache"))
    batches = []
    for where in (URL, local):
        with loader_of(where, cfg, seed=3, resolution=16) as loader:
            loader.start(0, loader.samples, loader.samples)
            batches.append(loader.next())
    assert torch.equal(batches[0].x, batches[1].x)
    assert torch.equal(batches[0].sample_ids, batches[1].sample_ids)


def test_the_command_takes_a_url(store: Bucket, photos: Path, local: Path) -> None:
    command = ["prepare", str(photos), "--out", URL, "--resolutions", "8..16"]
    done = CliRunner().invoke(main, [*command, "--shard-img", "30", "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert f"see {URL}/report.json" in done.output
    assert contents(URL) == contents(local)


def test_what_is_finished_is_not_sent_again(store: Bucket, photos: Path, local: Path) -> None:
    upload(photos)
    store.served.clear()
    upload(photos)
    assert puts(store, "") == []
    fsspec.filesystem("s3").rm(f"{URL}/r0008/000001.tar")
    upload(photos)
    assert [Path(path).name for path in puts(store, ".tar")] == ["000001.tar"] * 2
    assert contents(URL) == contents(local)


@pytest.mark.parametrize("fault", ["reset", "stall", 503])
def test_answers_that_fail_now_and_then(
    store: Bucket, photos: Path, local: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a reset or a stall the store has done what was asked, and nobody knows."""
    monkeypatch.setattr(object_store, "STALL_S", 2.0)
    count = iter(range(100_000))
    every = 3 if isinstance(fault, int) else 8
    store.misbehave = lambda method, path: (
        fault if method == "PUT" and next(count) % every == 1 else None
    )
    upload(photos)
    store.misbehave = lambda method, path: None
    assert contents(URL) == contents(local)


def test_a_spell_of_503_is_waited_out(
    store: Bucket, photos: Path, local: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = iter(range(1000))
    store.misbehave = lambda method, path: (
        503 if method == "PUT" and path.endswith("000001.tar") and next(asked) < 4 else None
    )
    upload(photos)
    assert contents(URL) == contents(local)
    assert f"{URL} does not answer" in caplog.text
    assert f"{URL} answers again" in caplog.text


def test_what_arrives_damaged_is_sent_again(
    store: Bucket, photos: Path, local: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt: list[str] = []

    def misbehave(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith("r0016/000000.tar") and len(spoilt) < worst:
            spoilt.append(path)
            return bytes(1000)
        return None

    store.misbehave, worst = misbehave, 1
    upload(photos)
    assert contents(URL) == contents(local)
    assert "r0016/000000.tar did not arrive as it was sent: it is sent again" in caplog.text
    fsspec.filesystem("s3").rm(f"{URL}/r0016/000000.tar")
    worst = 100
    with pytest.raises(DataError, match=r"r0016/000000\.tar .* after 3 uploads, sent was"):
        upload(photos)


def test_two_at_once_with_one_recipe_write_the_same(
    store: Bucket, photos: Path, local: Path
) -> None:
    store.delay_s = 0.01
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: upload(photos), range(2))
    assert first == second
    assert contents(URL) == contents(local)


def test_of_two_recipes_at_once_one_has_the_place(
    store: Bucket, photos: Path, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the place empty, then both begin: the store decides."""
    both = threading.Barrier(2, timeout=60)
    list_files = ObjectStorage.sizes

    def sizes(place: ObjectStorage, below: str = "") -> Mapping[str, int]:
        found = list_files(place, below)
        if RECIPE not in found:
            both.wait()
        return found

    monkeypatch.setattr(ObjectStorage, "sizes", sizes)

    def attempt(sides: tuple[int, ...]) -> Manifest | DataError:
        try:
            return upload(photos, sides=sides)
        except DataError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(attempt, [SIDES, (8, 32)]))
    (won,) = [m for m in made if isinstance(m, Manifest)]
    (lost,) = [m for m in made if isinstance(m, DataError)]
    assert "holds a dataset from another input or other options (resolutions was" in str(lost)
    assert Manifest.read(URL) == won
    assert list(verify(URL)) == []


def test_a_folder_made_in_a_console_is_empty(store: Bucket, photos: Path) -> None:
    fsspec.filesystem("s3").pipe(f"{URL}/", b"")
    assert upload(photos).samples("train") == 84


def test_a_place_with_other_things_is_refused(store: Bucket, photos: Path) -> None:
    fsspec.filesystem("s3").pipe(f"{URL}/notes.txt", b"mine")
    with pytest.raises(DataError, match="is not empty and holds no unfinished dataset"):
        upload(photos)
    with pytest.raises(DataError, match="make the bucket first"):
        upload(photos, "s3://nobucket/set")
    store.misbehave = lambda method, path: 403
    with pytest.raises(DataError, match=r"PermissionError.*credentials"):
        upload(photos)


SCRIPT = """
import sys
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
if __name__ == "__main__":
    prepare(open_source(sys.argv[1]), sys.argv[2], (8, 16), workers=2, shard_img=10)
"""


@pytest.mark.early
def test_killed_in_the_middle_and_run_again(store: Bucket, photos: Path, tmp_path: Path) -> None:
    """Kill -9: nothing of it shows, nothing is left on the disk, and what is finished stays."""
    (tmp_path / "run.py").write_text(SCRIPT)
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, str(tmp_path / "run.py"), str(photos), URL]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path / "scratch"),
    }  # fmt: skip
    store.delay_s = 0.05
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while len(puts(store, "0.json") + puts(store, "1.json")) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    store.delay_s = 0.0
    assert MANIFEST not in contents(URL)
    assert [p for p in (tmp_path / "scratch").rglob("*") if "pymp" not in str(p)] == []
    kept = {Path(path).stem for path in puts(store, ".json") if ".prepare/0" in path}
    time.sleep(1)  # its workers see that it is gone
    store.served.clear()
    prepare(open_source(str(photos)), URL, SIDES, workers=1, shard_img=10)
    assert not kept & {Path(path).stem for path in puts(store, ".tar")}
    whole = tmp_path / "whole"
    prepare(open_source(str(photos)), whole, SIDES, workers=1, shard_img=10)
    assert contents(URL) == contents(whole)


def test_whoever_waits_for_a_store_can_be_called_off(store: Bucket, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(seconds: float) -> None:
        raise StopError

    store.misbehave = lambda method, path: 503
    with pytest.raises(StopError):
        open_destination(URL).with_sleep(stop).write("a.json", "{}")


class Posing(MemoryFileSystem):
    """A file system of fsspec that answers to gs:// and is not S3."""

    protocol = "gs"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]


def test_another_file_system_takes_the_same_way(
    photos: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gs://` and `az://` differ from this in the library below only."""
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", Posing)
    upload(photos, "gs://made/set")
    assert contents("gs://made/set") == contents(local)
    assert list(verify("gs://made/set")) == []
    cfg = DataConfig(cache=str(tmp_path / "cache"))
    with loader_of("gs://made/set", cfg, seed=3, resolution=16) as loader:
        loader.start(0, 4, 8)
        assert loader.next().x.shape == (4, 3, 16, 16)
    assert not Path(tempfile.gettempdir(), "made").exists()
