"""What an input is taken for: by what it holds, not by a name that it happens to bear."""

import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.prepare.destination import open_destination
from pipeline.data.prepare.jobs import PrepareOptions, jobs_of
from pipeline.data.prepare.shards import make_shard, prepare
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError
from tests.pipeline.data.conftest import encoded, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures."""
    made = tmp_path / "in"
    made.mkdir()
    for i in range(3):
        (made / f"{i}.png").write_bytes(encoded(picture(i, 8)))
    return made


def test_a_folder_called_rendered_is_a_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_source("rendered").name == "rendered"
    folder.rename("rendered")
    assert (open_source("rendered/").name, len(open_source("rendered"))) == ("folder", 3)
    assert len(open_source("rendered:5")) == len(open_source("rendered:5", "rendered")) == 5


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "name"),
    [("0.png\n1.png\n2.png\n", "folder"), ("idx orig_idx orig_file\n0 9 000010.jpg\n", "celebahq")],
)
def test_any_list_of_images_may_be_called_as_celebas(
    folder: Path, text: str, name: str, packed: bool
) -> None:
    (folder / "image_list.txt").write_text(text)
    if packed:
        folder, name = zipped(folder, folder.iterdir()), name.replace("folder", "zip")
    source = open_source(str(folder))
    assert source.name == name
    assert (source.licence == "not stated") == (name != "celebahq")


def test_a_zip_may_have_an_entry_for_itself(folder: Path) -> None:
    packed = zipped(folder, folder.iterdir(), "./")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(zipfile.ZipInfo("./"), "")
    assert len(open_source(str(packed))) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_without_images_beside_images_is_a_table(folder: Path, packed: bool) -> None:
    pq.write_table(pa.table({"file": ["0.png", "1.png"], "age": [1, 2]}), folder / "labels.parquet")
    labels = str(folder / "labels.parquet")
    if packed:
        folder = zipped(folder, folder.iterdir())
    source = open_source(str(folder))
    assert source.name == ("zip" if packed else "folder")
    assert any("labels.parquet" in note and "--labels" in note for note in source.notes)
    assert open_source(str(folder), labels=labels).read(1).labels == {"age": 2}


def zipped(folder: Path, files: object, prefix: str = "") -> Path:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path in sorted(files):  # type: ignore[call-overload]
            archive.write(path, f"{prefix}{path.name}")
    packed = folder.with_suffix(".zip")
    packed.write_bytes(made.getvalue())
    return packed


@pytest.mark.parametrize("change", ["added", "removed"])
def test_an_input_that_changes_while_it_is_prepared_is_refused(
    folder: Path, tmp_path: Path, change: str
) -> None:
    how = PrepareOptions(resolutions=(4,))
    (job,) = jobs_of(open_source(str(folder)), open_destination(tmp_path / "out"), how)
    if change == "added":
        (folder / "00.png").write_bytes(encoded(picture(7, 8)))
    else:
        (folder / "1.png").unlink()
    with pytest.raises(DataError, match=r"added to .* or removed from it while it was prepared"):
        make_shard(open_source(str(folder)), job, lambda images=1: None)  # as another process would
    assert not list((tmp_path / "out").rglob("*.tar"))


def test_what_systems_leave_in_a_folder_does_not_fill_it(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "lost+found").mkdir(parents=True)
    (out / ".DS_Store").write_bytes(b"")
    assert prepare(open_source(str(folder)), out, (4,), workers=1).samples("train") == 3
