"""The cache of remote pieces: bounded, shared by processes, and no worse than none when full."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.cache import Cache
from stylealae.errors import DataError


def key(i: int) -> str:
    return hashlib.sha256(str(i).encode()).hexdigest()


def held(folder: Path) -> int:
    """Bytes of pieces in the folder."""
    return sum(p.stat().st_size for p in folder.iterdir() if p.is_file() and p.name != ".used")


def test_what_was_put_is_got_and_the_limit_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10_000)
    for i in range(30):
        cache.put(key(i), bytes([i]) * 1000)
        os.utime(tmp_path / key(i), (i, i))
        assert held(tmp_path) <= 10_000
    assert bytes(cache.get(key(29)) or b"") == bytes([29]) * 1000
    assert cache.get(key(0)) is None
    assert held(Path(tmp_path)) >= 7000
    cache.put(key(99), bytes(20_000))
    assert cache.get(key(99)) is None


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 4000)
    for i in range(4):
        cache.put(key(i), bytes(1000))
        os.utime(tmp_path / key(i), (i, i))
    assert cache.get(key(0)) is not None
    cache.put(key(4), bytes(1000))
    assert cache.get(key(0)) is not None
    assert cache.get(key(1)) is None


def test_a_piece_in_use_outlives_its_removal(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    cache.put(key(0), b"x" * 1000)
    piece = cache.get(key(0))
    cache.put(key(1), b"y" * 1000)
    assert not (tmp_path / key(0)).exists()
    assert bytes(piece or b"") == b"x" * 1000


def test_a_lower_limit_is_met_at_the_start(tmp_path: Path) -> None:
    for i in range(5):
        Cache(tmp_path, 5000).put(key(i), bytes(1000))
    Cache(tmp_path, 2000)
    assert held(tmp_path) == 2000


READER = """
import sys, fcntl, hashlib, random
from pathlib import Path
from pipeline.storage.cache import Cache
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
cache, draw = Cache(folder, 20_000), random.Random(seed)
for _ in range(300):
    i = draw.randrange(60)
    key, want = hashlib.sha256(str(i).encode()).hexdigest(), bytes([i]) * 1000
    piece = cache.get(key)
    if piece is None:
        with cache.claimed(key):
            piece = cache.get(key)
            if piece is None:
                cache.put(key, want)
                piece = cache.get(key) or want
    assert bytes(piece) == want
    with (folder / ".used").open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        total = sum(path.stat().st_size for path in folder.iterdir() if len(path.name) == 64)
        assert total == int(used.read()) <= 20_000
"""


def test_processes_share_it_while_pieces_are_removed(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READER, str(tmp_path)]
    readers = [
        subprocess.Popen([*command, str(seed)], env=env, stderr=subprocess.PIPE)
        for seed in range(3)
    ]
    try:
        for reader in readers:
            _, errors = reader.communicate(timeout=240)
            assert reader.returncode == 0, errors.decode()
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    assert 0 < held(tmp_path) <= 20_000


def test_a_full_disk_is_told_once_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk; the faked one is the next test")
    try:
        cache = Cache(disk, 1 << 30)
        for i in range(100):
            cache.put(key(i), bytes([i]) * 10_000)
        kept = [i for i in range(100) if cache.get(key(i)) is not None]
        assert kept
        assert max(kept) > 90  # older pieces make room
        assert not list(disk.glob("*.partial"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert caplog.text.count("takes no more (No space left on device)") == 1
    assert "data.cache_gib" in caplog.text


def test_a_disk_that_takes_nothing_is_told_once_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path, 1 << 30)

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    for i in range(3):
        cache.put(key(i), b"x")
        assert cache.get(key(i)) is None
    assert caplog.text.count("takes no more (No space left on device)") == 1


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.cache is .*file/x, which cannot be used"):
        Cache(tmp_path / "file" / "x", 1)


def test_whoever_waits_for_a_piece_can_be_told_to_stop(tmp_path: Path) -> None:
    """The one who fetches it may wait for hours for a store that is down."""

    class StoppedError(Exception):
        """What the waiting one is told."""

    def stop(_: float) -> None:
        raise StoppedError

    cache, other = (Cache(tmp_path, 1000) for _ in range(2))
    key = "ab" * 32
    with cache.claimed(key):
        with pytest.raises(StoppedError), other.claimed(key, stop):
            pytest.fail("two have claimed a piece")
        with (
            pytest.raises(StoppedError),
            other.claimed(key, stop),
        ):  # the first wait took nothing away
            pytest.fail("two have claimed a piece")
    with other.claimed(key, stop):
        pass


def test_a_folder_that_was_cleaned_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = Cache(folder, 1000)
    shutil.rmtree(folder)
    with cache.claimed(key(0)):
        cache.put(key(0), b"x")
    assert bytes(cache.get(key(0)) or b"") == b"x"
    shutil.rmtree(folder)
    folder.write_text("")
    with cache.claimed(key(0)):  # nobody can be made to wait, and nothing is kept
        cache.put(key(0), b"x")
    assert cache.get(key(0)) is None


def test_a_place_that_fails_otherwise_costs_no_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system that is read-only from now on, say: what is there is read on."""
    cache = Cache(tmp_path, 1 << 30)
    for i in range(8):
        cache.put(key(i), b"x")

    def failing(path: Path, data: bytes) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", failing)
    for i in range(8, 12):
        cache.put(key(i), b"x")
    assert [cache.get(key(i)) is not None for i in range(12)] == [True] * 8 + [False] * 4
    assert caplog.text.count("takes no more (Read-only file system)") == 1
