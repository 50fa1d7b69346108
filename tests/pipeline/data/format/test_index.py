"""The tars as docs/format.md describes them: any reader finds its way, and every byte is hashed."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from pipeline.data.format.index import INDEX, Index, index_tail
from pipeline.data.format.manifest import Manifest
from tests.pipeline.data.handmade import shard_list, shard_path


def test_plain_webdataset_reads_every_tar(dataset: Path) -> None:
    tars = sorted(dataset.rglob("*.tar"))
    assert len(tars) == 4 * 6
    seen = {side: 0 for side in (4, 8, 16, 32)}
    for tar in tars:
        side = int(tar.parent.name[1:])
        for sample in wds.WebDataset(str(tar), shardshuffle=False):
            beside = json.loads(sample["json"])
            block = np.frombuffer(sample["u8"], np.uint8).reshape(beside["shape"])
            assert block.shape[1:] == (3, side, side)
            assert len(beside["ids"]) == len(beside["labels"]["age"]) == beside["count"]
            seen[side] += len(block)
    assert set(seen.values()) == {100}


def test_every_byte_is_under_one_hash(dataset: Path, manifest: Manifest) -> None:
    for side in manifest.resolutions:
        found = shard_list(dataset, side)
        for number in range(6):
            data = shard_path(dataset, number, side).read_bytes()
            assert hashlib.sha256(data).hexdigest() == found.sha256[number]
            tail = found.index_piece(number)
            index = Index.parse(tail.name, memoryview(data)[tail.start :], tail.start)
            at = 0
            for piece in (*map(index.piece, range(len(index.sha256))), tail):
                assert piece.start == at
                assert hashlib.sha256(data[at : piece.stop]).hexdigest() == piece.sha256
                at = piece.stop
            assert at == len(data)


def test_the_index_is_the_last_member_and_an_empty_tar_has_one() -> None:
    data = index_tail([0], [], [])
    assert len(data) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mtime) == (INDEX, 0)
    assert len(Index.parse("x", memoryview(data), 0).sha256) == 0


@pytest.mark.parametrize(
    "columns",
    [
        {"at": [0, 5], "samples": [1], "sha256": ["", ""]},
        {"at": [5, 0], "samples": [1, 1], "sha256": ["", ""]},
        {"at": [0], "samples": [1]},
        [],
    ],
)
def test_an_index_that_makes_no_sense_is_refused(columns: object) -> None:
    content = json.dumps(columns).encode()
    info = tarfile.TarInfo(INDEX)
    info.size = len(content)
    data = info.tobuf(tarfile.USTAR_FORMAT) + content
    with pytest.raises((ValueError, KeyError, TypeError)):
        Index.parse("x", memoryview(data), 3)
