"""The folder of a model, wherever it lies: a snapshot, a run, the hub, an object store.

snapshot_of("runs/demo")                       its newest snapshot
snapshot_of("s3://bucket/runs/ffhq")           the same, fetched and verified
snapshot_of("s3://bucket/runs/ffhq/0064/snapshot")
snapshot_of("hf://owner/name@revision")
snapshot_of("rendered_64")                     comes with the package
"""

from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.storage import Storage, is_url, local_path, open_storage
from pipeline.storage.publish import MANIFEST
from pipeline.training import run_files
from stylealae.errors import CheckpointError, alike
from stylealae.interop import hub
from stylealae.interop.layout import CONFIG
from stylealae.interop.pretrained import pretrained

__all__ = ["anchored", "folder_of", "is_snapshot", "snapshot_of", "snapshots", "url_of"]

Where = str | Path
SCHEMES = frozenset(("s3", "gs", "gcs", "az", "abfs", "abfss", "hdfs", "memory", "hf"))
"""Of the URLs that models lie at."""


def snapshot_of(where: Where) -> Path:
    """The snapshot folder at a path or URL: itself, or the newest of a run.

    Raises:
        CheckpointError: there is none; it names the nearest that there is.
    """
    path = folder_of(where)
    if is_snapshot(path):
        return path
    found = snapshots(path)
    if not found:
        raise CheckpointError(_nearest(path))
    begun = [stage / "snapshot" for stage in _stages(path) if (stage / "snapshot").is_dir()]
    if begun[-1] != found[-1]:
        raise CheckpointError(
            f"{begun[-1]} is the newest snapshot of the run and has no config.json: copy the "
            f"folder again, or name an earlier one, {found[-1]}"
        )
    return found[-1]


def folder_of(where: Where) -> Path:
    """What lies at a path or URL, on this host: of a run in an object store its newest snapshot.

    A name such as rendered_64, where nothing lies, is that of a model which comes with the package.

    Raises:
        CheckpointError: a URL leads to no model.
    """
    if url := url_of(where):
        name = url.removeprefix(hub.SCHEME)
        return hub.model(name) if name != url else _fetched(url)
    path = Path(local_path(where))
    return path if path.exists() else pretrained(str(where)) or path


def url_of(where: Where) -> str:
    """The URL that this is, also where a Path has left it a single slash; empty of a path."""
    scheme, found, rest = str(where).partition(":/")
    return f"{scheme}://{rest.strip('/')}" if found and scheme in SCHEMES else ""


def anchored(where: str, base: Path) -> str:
    """The same place from everywhere: what is relative lies below `base`; a name or URL stays."""
    there = base / local_path(where)
    if not where or is_url(where) or (pretrained(where) and not there.exists()):
        return where
    return str(there)


def is_snapshot(path: Path) -> bool:
    """Whether a snapshot lies at a path."""
    return (path / CONFIG).is_file()


def snapshots(run: Path) -> list[Path]:
    """The snapshots of a run on this host, in the order of its stages."""
    found = (stage / "snapshot" for stage in _stages(run))
    return [snapshot for snapshot in found if is_snapshot(snapshot)]


def _fetched(url: str) -> Path:
    """A snapshot or checkpoint in an object store, or a run's newest snapshot, on this host."""
    storage = open_storage(url)
    names = storage.names()
    if MANIFEST in names:
        above, _, name = url.rpartition("/")
        return _verified(open_storage(above), name)
    stages = sorted(filter(str.isdecimal, names), key=int)
    for stage in reversed(stages):
        if storage.is_whole(f"{stage}/{run_files.SNAPSHOT}"):
            return _verified(storage, f"{stage}/{run_files.SNAPSHOT}")
    if CONFIG in names:
        mend = f"it has no {MANIFEST}: copy a whole snapshot there, or this one to a folder here"
    elif any(fnmatchcase(n, run_files.CHECKPOINTS) for s in stages for n in storage.names(s)):
        mend = "its first stage is not finished; the command that began it goes on with it"
    else:
        mend = "give a run, as in s3://bucket/runs/ffhq, or a snapshot or checkpoint of one"
    raise CheckpointError(
        f"{url} is neither a snapshot nor a run that has finished a stage: {mend}"
    )


def _verified(storage: Storage, name: str) -> Path:
    found = run_files.verified(storage, name)
    if isinstance(found, str):
        raise CheckpointError(f"{storage.at(name)} is no whole snapshot or checkpoint: {found}")
    return found


def _stages(run: Path) -> list[Path]:
    """The folders of a run's stages, in order."""
    stages = (stage for stage in run.glob("[0-9]*") if stage.name.isdecimal())
    return sorted(stages, key=lambda stage: int(stage.name))


def _nearest(path: Path) -> str:
    """Why there is no snapshot at a path, and what is near it."""
    if path.is_file():
        return (
            f"{path} is a file, and a snapshot is a folder: turn it into one with `stylealae "
            "import`, or name a folder for directions with --out or --directions"
        )
    if path.exists():
        near = sorted(child for child in path.glob("*") if is_snapshot(child) or snapshots(child))
    else:
        near = [found] if (found := alike(path, Path.is_dir)) else []
    if near:
        mend = f"did you mean {near[-1]}?"
    elif any(path.glob("[0-9]*/seen-*")):
        mend = "its first stage is not finished; the command that began it goes on with it"
    else:
        mend = "give a folder such as runs/demo, or runs/demo/0032/snapshot"
    if not path.exists():
        return f"{path} does not exist: {mend}"
    return f"{path} is neither a snapshot nor a run that has finished a stage: {mend}"
