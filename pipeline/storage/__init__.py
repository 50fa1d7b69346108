"""Where files lie: a folder that all hosts see (a local disk, NFS), or an object store.

    storage = open_storage("s3://bucket/runs/ffhq")
    with storage.publish("0064/seen-0000012800") as scratch:
        ...                                        write files into scratch
    storage.verified("0064/seen-0000012800")       a folder on this host that holds them

storage.py       what can be done there
local.py         a folder
object_store.py  an object store, through fsspec
filesystem.py    fsspec's settings for it
disk.py          a full disk of this host
retry.py         calls to it, retried with exponential backoff
publish.py       folders that appear whole or not at all, with a manifest of hashes
pieces.py        byte ranges of files, checked against their hash
cache.py         pieces from an object store, on a local disk
"""

import os
import re
from pathlib import Path

from pipeline.storage.publish import nothing, published
from pipeline.storage.storage import Storage
from stylealae.errors import CheckpointError, DataError, UserError

__all__ = ["PATIENCE_S", "Storage", "Where", "data_storage", "is_url", "local_path", "nothing"]
__all__ += ["open_storage", "published"]

PATIENCE_S = 300.0
Where = str | Path
_ONE_SLASH = re.compile(r"(s3|gs|gcs|az|abfs|abfss|hdfs|https?|ftp|hf):/([^/].*)")
"""What was meant as a URL, and would be a folder of this name."""


def open_storage(
    where: Where,
    patience_s: float = PATIENCE_S,
    *,
    setting: str = "checkpoint.patience_s",
    error: type[UserError] = CheckpointError,
) -> Storage:
    """The storage at a path or URL, a run's unless said otherwise; nothing is read yet.

    Args:
        where: a path, also as `file://`, or a URL that fsspec knows.
        patience_s: how long a call to an object store is retried.
        setting: the config key of `patience_s`, for messages.
        error: what is raised when it has passed.
    """
    location = local_path(where)
    if found := _ONE_SLASH.match(location):
        raise error(f"{where} has one slash where a URL has two: write {found[1]}://{found[2]}")
    if not is_url(location):
        from pipeline.storage.local import LocalStorage

        return LocalStorage(location)
    from pipeline.storage.object_store import ObjectStorage  # fsspec is heavy
    from pipeline.storage.retry import Retry

    retry = Retry(where=location, setting=setting, error=error, patience_s=patience_s)
    return ObjectStorage(location, retry)


def data_storage(where: Where, patience_s: float = PATIENCE_S) -> Storage:
    """Where a data set lies; if an object store fails for so long, that is a DataError."""
    return open_storage(where, patience_s, setting="data.patience_s", error=DataError)


def is_url(where: Where) -> bool:
    """Whether this names a location by its protocol, `s3://...`, and not a path."""
    return "://" in str(where)


def local_path(where: Where) -> str:
    """A path, also of `file://` or below `~`, or another URL, without a slash at the end."""
    return os.path.expanduser(str(where).removeprefix("file://")).rstrip("/") or "/"
