"""`data.path=hf://datasets/owner/name`: prepared once from the hub's Parquet, into the cache."""

import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.data.format.manifest import MANIFEST
from pipeline.data.prepare.shards import prepare
from pipeline.data.sources.registry import open_source
from stylealae.errors import DataError
from stylealae.interop import hub

__all__ = ["with_hub_data"]


def with_hub_data(
    cfg: RunConfig,
    report: Callable[[int, int], None] = lambda _done, _all: None,
    workers: int = 0,
) -> RunConfig:
    """The config with a folder in place of a data set of the hub, made if it is not there yet.

    The folder is named by the commit and by what is made of it, so that another revision, size or
    number of channels is another one. Of several processes one makes it and the others wait.

    Raises:
        DataError: the hub cannot be asked, and the folder is not there.
    """
    if not cfg.data.path.startswith(hub.SCHEME):
        return cfg
    sides = [4 << stage for stage in range(cfg.model.first_stage, cfg.last_stage + 1)]
    made = f"{sides[0]}-{sides[-1]}-c{cfg.model.channels}"
    repo, below, revision = hub.repository(cfg.data.path)
    name = "/".join(filter(None, (repo, below)))
    root = Path(cfg.data.cache).expanduser() / "hub" / name.replace("/", "--")
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            commit = hub.dataset_commit(cfg.data.path)
        except DataError:
            commit = _commit_before(root, revision)
            if not (root / commit / made / MANIFEST).is_file():
                raise
        folder = root / commit / made
        if not (folder / MANIFEST).is_file():
            pinned = hub.dataset_address(repo, below, commit)
            source = open_source(pinned, channels=cfg.model.channels)
            prepare(source, folder, sides, workers=workers, report=report)
        (root / "revisions").mkdir(exist_ok=True)
        (root / "revisions" / (revision or "main").replace("/", "--")).write_text(commit)
    return replace(cfg, data=replace(cfg.data, path=str(folder)))


def _commit_before(root: Path, revision: str) -> str:
    """The commit that a revision was when the hub was last asked; the revision itself if never."""
    known = root / "revisions" / (revision or "main").replace("/", "--")
    return known.read_text() if known.is_file() else revision
