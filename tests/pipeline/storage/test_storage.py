"""A run's place keeps its promises, in a folder and in an object store alike.

Object stores are moto behind a proxy that misbehaves, and emulators of Google's and Azure's, on
loopback; `run` is any of them.
"""

import json
import logging
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.storage import Storage, open_storage
from pipeline.storage.publish import MANIFEST
from pipeline.training import checkpoints, run_files
from stylealae.errors import CheckpointError

URL = "s3://runs/some/run"


@pytest.fixture(scope="module")
def running() -> Iterator[object]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    from tests.pipeline.storage.bucket import bucket

    with bucket() as found:
        yield found


@pytest.fixture(params=["folder", "bucket", "gcs", "azure"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty run."""
    if request.param == "folder":
        yield open_storage(tmp_path / "run")
    else:
        yield request.getfixturevalue(f"in_{request.param}")


@pytest.fixture
def in_bucket(
    running: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storage]:
    """An empty run in the object store, with a spool of its own."""
    import fsspec

    from pipeline.storage import object_store
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    running.misbehave, running.conditional = lambda method, path: None, True
    monkeypatch.setattr(object_store, "SPOOL", tmp_path / "spool")
    fs, _ = fsspec.core.url_to_fs(URL, use_listings_cache=False)
    fs.mkdirs("runs", exist_ok=True)
    if fs.exists("runs/some"):
        fs.rm("runs/some", recursive=True)
    yield open_storage(URL, 60.0)  # seconds: of a machine that may be busy
    running.misbehave = lambda method, path: None


@pytest.fixture
def in_gcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """An empty run in a bucket of gs://, through the real gcsfs."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks for credentials
    gcsfs = pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="no emulator of gs://")
    from pipeline.storage import object_store

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="runs")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    gcsfs.GCSFileSystem.clear_instance_cache()
    monkeypatch.setattr(object_store, "SPOOL", tmp_path / "spool")
    yield open_storage("gs://runs/some/run", 60.0)
    server.stop()


@pytest.fixture(scope="module")
def azure() -> Iterator[Mapping[str, str]]:
    pytest.importorskip("adlfs")
    from tests.pipeline.storage.azurite import azurite, program

    if program() is None:
        pytest.skip("no azurite: npm install --prefix build/azurite azurite")
    with azurite() as env:
        yield env


@pytest.fixture
def in_azure(azure: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty run in a container of az://, through the real adlfs."""
    import adlfs

    from pipeline.storage import object_store

    for name, value in azure.items():
        monkeypatch.setenv(name, value)
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    monkeypatch.setattr(object_store, "SPOOL", tmp_path / "spool")
    return open_storage(f"az://runs/{tmp_path.name}/run", 60.0)


def put(run: Storage, name: str, text: str, **options: object) -> None:
    """Publishes a folder of two files."""
    with run.publish(name, **options) as scratch:  # type: ignore[arg-type]
        (scratch / "b.txt").write_text("beside")
        (scratch / "a.txt").write_text(text)


def got(run: Storage, name: str) -> str:
    return (run.verified(name) / "a.txt").read_text()


def test_what_is_published_comes_back_and_replaces(run: Storage) -> None:
    assert run.names() == []
    put(run, "0004/one", "first")
    assert run.is_whole("0004/one")
    assert got(run, "0004/one") == "first"
    put(run, "0004/one", "other")
    assert got(run, "0004/one") == "other"
    assert run.names() == ["0004"]
    assert run.names("0004") == ["one"]
    run.remove("0004/one")
    assert run.names("0004") == []
    run.remove("0004/one")  # again is no error


def test_a_block_that_fails_publishes_nothing(run: Storage) -> None:
    put(run, "0004/one", "first")
    with pytest.raises(TypeError):  # the second file, when the first is written
        put(run, "0004/one", ["half"])  # type: ignore[arg-type]

    def closed() -> None:
        raise CheckpointError

    with pytest.raises(CheckpointError):
        put(run, "0004/one", "late", gate=closed)
    assert got(run, "0004/one") == "first"
    assert not run.scraps("0004")


def test_a_file_is_created_once(run: Storage) -> None:
    if run.where.startswith("gs://"):
        pytest.skip("gcsfs asks for a conditional write, of which the emulator knows nothing")
    assert run.create("fence/1", b"mine")
    assert not run.create("fence/1", b"theirs")
    assert run.read("fence/1") == b"mine"
    run.write("fence/1", b"now theirs")
    assert run.read("fence/1") == b"now theirs"
    with pytest.raises(FileNotFoundError):
        run.read("fence/2")


def test_a_store_that_creates_what_is_there_is_found_and_the_last_writer_has_it(
    in_bucket: Storage,
    running: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As of an s3fs before 2024.12, which sends no condition."""
    from pipeline.storage import object_store
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    running.conditional = False
    monkeypatch.setattr(object_store, "OTHERS_S", 0.0)
    with caplog.at_level(logging.WARNING):
        assert in_bucket.create("fence/1", b"mine")
        assert in_bucket.create("fence/2", b"mine")
    assert caplog.text.count("at the same moment both may hold it") == 1
    other = open_storage(URL, 60.0)
    beside = in_bucket.with_sleep(lambda _seconds: other.write("fence/3", b"theirs"))
    assert not beside.create("fence/3", b"mine")
    running.conditional = True
    caplog.clear()
    assert other.create("fence/4", b"mine")
    assert not caplog.text


def test_two_who_begin_at_once_in_such_a_store_are_told_apart(
    in_bucket: Storage, running: object
) -> None:
    from pipeline.training.fencing import Fence
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    running.conditional = False
    together = Barrier(2)

    def claim(storage: Storage) -> str:
        together.wait()
        return Fence.claim(storage).token

    with ThreadPoolExecutor(2) as pool:
        tokens = list(pool.map(claim, [in_bucket, open_storage(URL, 60.0)]))
    assert len(set(tokens)) == 2
    Fence(in_bucket, max(tokens)).require()


def test_a_large_file_over_a_slow_link_is_read_whole(
    in_bucket: Storage, running: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.storage import object_store
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    content = bytes(range(256)) * 160
    in_bucket.write("metrics.jsonl", content)
    in_bucket.write("empty", b"")
    assert in_bucket.read("empty") == b""
    monkeypatch.setattr(object_store, "STALL_S", 3.0)
    monkeypatch.setattr(object_store, "PART_BYTES", 8192)
    monkeypatch.setattr(running, "bytes_per_s", 8192)
    assert open_storage(URL, 5.0).read("metrics.jsonl") == content


def test_a_file_is_sent_as_it_is_now(run: Storage, tmp_path: Path) -> None:
    (tmp_path / "row").write_bytes(b"one")
    run.send(tmp_path / "row", "logs/row")
    assert run.read("logs/row") == b"one"
    (tmp_path / "row").write_bytes(b"one two")
    run.send(tmp_path / "row", "logs/row")
    assert run.read("logs/row") == b"one two"
    assert (tmp_path / "row").exists()
    assert run.names("logs") == ["row"]


def test_logs_of_this_host_go_to_the_bucket_when_they_have_changed(
    in_bucket: Storage, running: object
) -> None:
    from pipeline.config.sections import CheckpointConfig
    from pipeline.training.async_checkpoint import Saver
    from pipeline.world import World
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    saver = Saver(in_bucket, CheckpointConfig(), World(0, 1, torch.device("cpu")))
    rows = in_bucket.working / "metrics.jsonl"
    events = in_bucket.working / "tensorboard/run/events.1"
    events.parent.mkdir(parents=True)

    def sent() -> list[str]:
        running.served.clear()
        saver.finish()
        return [path.rpartition("/")[2] for method, path, _ in running.served if method == "PUT"]

    rows.write_text("one")
    events.write_text("events")
    assert sent() == ["metrics.jsonl", "events.1"]
    assert sent() == []
    rows.write_text("one, two")
    assert sent() == ["metrics.jsonl"]
    saver = Saver(in_bucket, CheckpointConfig(), World(0, 1, torch.device("cpu")))  # a stage later
    assert sent() == ["metrics.jsonl"]
    assert in_bucket.read("metrics.jsonl") == b"one, two"
    assert not list(in_bucket.working.glob(".sending/*"))


class Terse(MemoryFileSystem):
    """Finds of a file its own name alone, and of nothing a list, as adlfs does."""

    protocol = "terse"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def find(self, path: str, **options: Any) -> Any:
        """As said above."""
        return [path] if self.isfile(path) else super().find(path, **options) or []


def test_a_store_that_finds_a_files_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.storage import object_store

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "terse", Terse)
    monkeypatch.setattr(object_store, "SPOOL", tmp_path / "spool")
    run = open_storage("terse://runs/some/run")
    put(run, "0004/one", "first")
    assert run.names("0004") == ["one"]
    run.remove(f"0004/one/{MANIFEST}")
    assert not run.is_whole("0004/one")
    run.remove("0004/one")
    assert run.names() == []


def test_what_was_damaged_since_is_refused(run: Storage) -> None:
    put(run, "0004/one", "first")
    manifest = json.loads(run.read(f"0004/one/{MANIFEST}"))
    (file,) = [name for name in manifest["sha256"] if name.endswith("a.txt")]
    run.write(f"0004/one/{file}", b"fires")
    shutil.rmtree(run.working / ".fetched", ignore_errors=True)
    with pytest.raises(ValueError, match="hash"):
        run.verified("0004/one")
    run.remove(f"0004/one/{file}")
    with pytest.raises(OSError, match=r"a\.txt|not there"):
        run.verified("0004/one")


def test_what_a_link_has_damaged_is_fetched_again(
    in_bucket: Storage, running: object, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    put(in_bucket, "0004/one", "first")
    left = [b"fires", b"thirs"]

    def damage(method: str, path: str) -> bytes | None:
        return left.pop() if left and method == "GET" and "a.txt" in path else None

    running.misbehave = damage
    with caplog.at_level(logging.WARNING):
        assert got(in_bucket, "0004/one") == "first"
    assert caplog.text.count("a.txt arrived without the hash") == 2


def test_a_full_disk_of_this_host_is_named_and_the_store_is_not_blamed(
    in_bucket: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """The home folder's cache fills up: here a file of it leads to a device without room."""
    put(in_bucket, "0004/one", "first")
    (file,) = [name for name in in_bucket.hashes("0004/one") if name.endswith("a.txt")]
    folder = in_bucket.working / ".fetched/0004/one"
    folder.mkdir(parents=True)
    (folder / f".{Path(file).name}.partial").symlink_to("/dev/full")
    says = f"No space.*free some space in {in_bucket.working} on host {socket.gethostname()}"
    with caplog.at_level(logging.WARNING), pytest.raises(CheckpointError, match=says):
        in_bucket.verified("0004/one")
    assert "does not answer" not in caplog.text
    assert got(in_bucket, "0004/one") == "first"

    def write(scratch: Path) -> None:
        (scratch / "a.txt").symlink_to("/dev/full")
        (scratch / "a.txt").write_text("other")

    with pytest.raises(CheckpointError, match=says):
        run_files.publish(in_bucket, "0004/one", write, None)


def save(run: Storage, seen: int, stage: int = 0) -> str:
    parts = {name: {"w": torch.full((8,), float(seen))} for name in ("networks", "ema", "adam")}
    return checkpoints.save(run, parts, {"stage": stage, "seen": seen})


def test_checkpoints_live_in_both(run: Storage, caplog: pytest.LogCaptureFixture) -> None:
    for seen in (8, 16, 24):
        save(run, seen)
    save(run, 40, stage=1)
    checkpoints.prune(run, 1, 40, keep=2)
    assert run.names("0004") == ["seen-0000000024"]
    found = checkpoints.latest(run)
    assert found is not None
    assert float(found.tensors("ema")["w"][0]) == 40
    assert checkpoints.furthest(run) == 40
    run.remove(f"0008/seen-0000000040/{MANIFEST}")
    with caplog.at_level(logging.WARNING):
        found = checkpoints.latest(run)
    assert found is not None
    assert found.state["seen"] == 24
    assert "seen-0000000040" in caplog.text


def test_two_writers_of_one_checkpoint_never_mix(in_bucket: Storage) -> None:
    """An orphan that uploads beside the new holder, and publishes before it, loses."""
    with in_bucket.publish("0004/one", mark="00000007.0001") as orphan:
        (orphan / "a.txt").write_text("orphan")
        put(in_bucket, "0004/one", "holder", mark="00000008.0001")
    assert got(in_bucket, "0004/one") == "orphan"  # the last manifest counts, with its own files
    put(in_bucket, "0004/one", "holder", mark="00000008.0001")
    assert got(in_bucket, "0004/one") == "holder"
    assert not [name for name in in_bucket.names("0004/one") if name.startswith("00000007")]


Down = Callable[[str, str], object]


def test_an_outage_in_an_upload_is_waited_out(
    in_bucket: Storage, running: object, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    asked = []

    def down(method: str, path: str) -> int | None:
        asked.append(path)
        return 503 if len(asked) in (2, 3, 5) else None

    running.misbehave = down
    with caplog.at_level(logging.WARNING):
        put(in_bucket, "0004/one", "first")
        running.misbehave = lambda method, path: None
    assert got(in_bucket, "0004/one") == "first"
    assert f"{URL} does not answer" in caplog.text


def test_a_store_that_stays_down_leaves_the_one_before(in_bucket: Storage, running: object) -> None:
    from tests.pipeline.storage.bucket import Bucket

    assert isinstance(running, Bucket)
    save(in_bucket, 8)
    running.misbehave = lambda method, path: 503 if method == "PUT" and "ema" in path else None
    with pytest.raises(CheckpointError, match=r"patience_s.*goes on"):
        save(open_storage(URL, 0.5), 16)
    running.misbehave = lambda method, path: None
    found = checkpoints.latest(in_bucket)
    assert found is not None
    assert found.state["seen"] == 8
    assert not in_bucket.scraps("0004")
