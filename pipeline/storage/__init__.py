"""Where a run lies: a folder that all hosts see (a local disk, NFS), or an object store.

    storage = open_storage("s3://bucket/runs/ffhq")
    with storage.publishing("0064/seen-0000012800") as scratch:
        ...                                        write files into scratch
    storage.verified("0064/seen-0000012800")       a folder on this host that holds them

What is published appears whole or not at all, with a manifest.json that holds the hash of every
file; what is used was checked against it.  A folder is written aside, brought to disk and renamed;
for an object store see `pipeline.storage.run_bucket`.  `create` makes a file that nobody else has
made, on which the fence of a run rests.
"""

from functools import lru_cache
from pathlib import Path

from pipeline.storage.run_folder import Folder, Storage, nothing, published
from pipeline.storage.store import is_url

__all__ = ["Storage", "Where", "nothing", "open_storage", "published"]

PATIENCE_S = 300.0
Where = str | Path | Storage


def open_storage(where: Where, patience_s: float = PATIENCE_S) -> Storage:
    """The run at a path or URL; an object store may be down for `patience_s` seconds."""
    if isinstance(where, Storage):
        return where
    place = str(where).removeprefix("file://").rstrip("/") or "/"
    return _bucket(place, patience_s) if is_url(place) else Folder(place)


@lru_cache(maxsize=16)
def _bucket(place: str, patience_s: float) -> Storage:
    from pipeline.storage.run_bucket import Bucket  # fsspec is heavy

    return Bucket(place, patience_s)
