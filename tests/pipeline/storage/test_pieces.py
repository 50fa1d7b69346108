"""Pieces of files: whoever asks gets bytes that have their hash, and a store is asked once."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from pipeline.storage import is_url, local_path, open_storage
from pipeline.storage.cache import Cache
from pipeline.storage.object_store import ObjectStorage
from pipeline.storage.pieces import DamageError, Piece, open_pieces
from pipeline.storage.retry import Retry
from stylealae.errors import DataError

CONTENT = bytes(range(256)) * 100
PIECE = Piece("file", 256, 25_600, hashlib.sha256(CONTENT[256:]).hexdigest())


@pytest.fixture(params=["folder", "store"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place with one file."""
    if request.param == "folder":
        (tmp_path / "file").write_bytes(CONTENT)
        return str(tmp_path)
    fsspec.filesystem("memory").pipe("/pieces/file", CONTENT)
    return "memory://pieces"


def test_a_piece_is_checked_wherever_it_lies(where: str) -> None:
    pieces = open_pieces(open_storage(where))
    assert pieces.get(PIECE) == CONTENT[256:]
    with pytest.raises(DamageError, match=r"file is damaged: a piece \(bytes 0 to 25,600\)"):
        pieces.get(Piece("file", 0, 25_600, PIECE.sha256))
    with pytest.raises(DamageError, match="and the manifest lists it"):
        pieces.get(Piece("other", 0, 1, PIECE.sha256))


class Slow(ObjectStorage):
    """A store that takes its time, and counts."""

    reads = 0

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """A file, after a while."""
        self.reads += 1
        time.sleep(0.2)
        return super().read(name, start, stop)


def test_one_thread_fetches_for_all(tmp_path: Path) -> None:
    """Whoever asks meanwhile waits and takes the cached copy."""
    fsspec.filesystem("memory").pipe("/pieces/file", CONTENT)
    url = "memory://pieces"
    store = Slow(url, Retry(where=url, setting="", error=DataError, patience_s=1.0))
    pieces = open_pieces(store, Cache(tmp_path, 1 << 20))
    with ThreadPoolExecutor(8) as pool:
        assert all(x == CONTENT[256:] for x in pool.map(pieces.get, [PIECE] * 8))
    assert store.reads == 1


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(DataError, match="nonsense://x/y cannot be opened"):
        open_storage("nonsense://x/y")


def test_paths_and_urls_are_told_apart() -> None:
    assert [is_url(w) for w in ("s3://a/b", "/a/b", Path("a"))] == [True, False, False]
    assert [local_path(w) for w in ("file:///a/b/", "/", "s3://a/")] == ["/a/b", "/", "s3://a"]
