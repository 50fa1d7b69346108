"""What a config names is the same file on every worker, wherever that begins."""

import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path

from pipeline.config import RunConfig, parse
from pipeline.training.places import anchored_config

TEXT = """
data: {path: data/faces, cache: cache}
run_dir: runs/one
engine: {kernel_cache: kernels}
log: {batches: shown}
metrics: {features: [inception.pt, ~/vgg.pt, /files/own.pt], cache: ./statistics}
init: {from: runs/before}
"""


def test_whatever_is_relative_lies_below_the_folder_of_the_command(tmp_path: Path) -> None:
    found = anchored_config(parse(TEXT), tmp_path)
    assert (found.data.path, found.data.cache) == (f"{tmp_path}/data/faces", f"{tmp_path}/cache")
    assert (found.run_dir, found.init.from_) == (f"{tmp_path}/runs/one", f"{tmp_path}/runs/before")
    assert found.engine.kernel_cache == f"{tmp_path}/kernels"
    assert found.log.batches == f"{tmp_path}/shown"
    assert found.metrics.cache == f"{tmp_path}/statistics"
    assert found.metrics.features == (f"{tmp_path}/inception.pt", "~/vgg.pt", "/files/own.pt")
    assert anchored_config(found, tmp_path / "elsewhere") == found


def test_urls_homes_and_what_is_not_set_stay(tmp_path: Path) -> None:
    cfg = parse("data: {path: s3://faces/set}\nrun_dir: s3://runs/one\n")
    assert anchored_config(cfg, tmp_path) == cfg


def test_every_key_of_a_file_or_folder_is_known() -> None:
    """Whoever adds one finds it here."""
    known = {"path", "cache", "kernel_cache", "batches", "features"}
    cfg, found = RunConfig(), set()
    for section in fields(cfg):
        value = getattr(cfg, section.name)
        if is_dataclass(value):
            found |= {f.name for f in fields(value) if _names_files(type(value), f.name)}
    assert found == known


def _names_files(section: type, field: str) -> bool:
    """Whether the docstring under a field begins as those of files and folders do."""
    _, _, after = inspect.getsource(section).partition(f"    {field}: ")
    said = after.partition('"""')[2].partition('"""')[0]
    return said.startswith(("Folder", "Local folder", "Files of"))
