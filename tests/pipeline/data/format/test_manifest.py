"""The manifest and its lists: read back as written, refused when they are another's."""

import json
from pathlib import Path

import pytest

from pipeline.data.format.manifest import MANIFEST, Manifest
from pipeline.data.format.shard_list import ShardList
from pipeline.data.prepare.destination import open_destination
from stylealae.errors import DataError
from tests.pipeline.data.handmade import shard_list, write_dataset


def lists_of(dataset: Path, manifest: Manifest) -> dict[int, ShardList]:
    return {r: shard_list(dataset, r) for r in manifest.resolutions}


def test_round_trip(dataset: Path, manifest: Manifest, tmp_path: Path) -> None:
    open_destination(tmp_path).complete(manifest, lists_of(dataset, manifest))
    again = Manifest.read(tmp_path)
    assert again == manifest
    assert again.digest == manifest.digest
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {MANIFEST, *(f"r{r:04d}/shards.json" for r in (4, 8, 16, 32))}
    for name in names:
        assert (tmp_path / name).read_bytes() == (dataset / name).read_bytes()


def test_a_path_and_a_file_url_are_the_same(dataset: Path) -> None:
    assert Manifest.read(f"file://{dataset}/") == Manifest.read(str(dataset))


def test_nothing_in_the_manifest_grows_with_the_set(tmp_path: Path) -> None:
    sizes = []
    for shards in (1, 40):
        write_dataset(tmp_path / str(shards), [[2]] * shards, side=4)
        sizes.append((tmp_path / str(shards) / MANIFEST).stat().st_size)
    assert sizes[1] - sizes[0] <= 2  # digits


def test_counts(manifest: Manifest) -> None:
    assert list(manifest.splits) == ["train", "test"]
    assert (manifest.samples("train"), manifest.samples("test")) == (84, 16)
    assert manifest.shards_of("train") == range(5)
    assert manifest.shards_of("test") == range(5, 6)
    assert (manifest.samples("validation"), len(manifest.shards_of("validation"))) == (0, 0)


def test_the_lists_count_what_the_manifest_counts(dataset: Path, manifest: Manifest) -> None:
    for found in lists_of(dataset, manifest).values():
        assert found.samples.tolist() == [20, 20, 20, 20, 4, 16]


def test_another_version_is_refused(dataset: Path, tmp_path: Path) -> None:
    found = json.loads((dataset / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(found | {"format": 99}))
    with pytest.raises(DataError, match="format 99 and this version reads format 2"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 2, "shards": 3}'])
def test_a_damaged_manifest_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Manifest.read(tmp_path)


def test_a_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stylealae prepare"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "mend"), [(MANIFEST, "the folder that it is in"), ("x", "a folde")]
)
def test_a_file_is_no_data_set(name: str, mend: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name} is a file, and .* is a folder: name {mend}"):
        Manifest.read(tmp_path / name)
