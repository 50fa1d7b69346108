"""The manifest: read back as written, checked against the files, refused when it is another's."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.data.manifest import MANIFEST, Manifest, shard_path, verify
from stylealae.errors import DataError


def test_round_trip(manifest: Manifest, tmp_path: Path) -> None:
    manifest.write(tmp_path)
    again = Manifest.read(tmp_path)
    assert again == manifest
    assert again.digest == manifest.digest
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_counts(manifest: Manifest) -> None:
    assert manifest.splits == ("train", "test")
    assert (manifest.samples("train"), manifest.samples("test")) == (84, 16)
    assert [shard.samples for shard in manifest.shards_of("train")] == [20, 20, 20, 20, 4]
    assert manifest.samples("validation") == 0


def test_another_version_is_refused(dataset: Path, tmp_path: Path) -> None:
    found = json.loads((dataset / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(found | {"format": 99}))
    with pytest.raises(DataError, match="format 99 and this version reads format 1"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 1, "shards": 3}'])
def test_a_damaged_manifest_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Manifest.read(tmp_path)


def test_a_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stylealae prepare"):
        Manifest.read(tmp_path)


def test_verify_names_every_departure(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    manifest = Manifest.read(copy)
    assert list(verify(copy, manifest)) == []
    shard_path(copy, 0, 4).unlink()
    longer = shard_path(copy, 1, 8)
    longer.write_bytes(longer.read_bytes() + bytes(512))
    flipped = bytearray(shard_path(copy, 2, 16).read_bytes())
    flipped[3000] ^= 1
    shard_path(copy, 2, 16).write_bytes(flipped)
    problems = list(verify(copy, manifest))
    assert len(problems) == 3
    assert "r0004/000000.tar is missing" in problems[0]
    assert "bytes" in problems[1]
    assert "sha256" in problems[2]
