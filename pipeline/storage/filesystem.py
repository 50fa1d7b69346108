"""Fsspec's file system for a URL, with the settings that our own retries need."""

import os
from typing import Any

import fsspec

from stylealae.errors import DataError

__all__ = ["METADATA", "filesystem"]

OPTIONS: dict[str, dict[str, Any]] = {
    # Retries are ours, so that they are logged and bounded: botocore's are turned off.
    "s3": {
        "use_listings_cache": False,
        "max_concurrency": 4,  # parts of 50 MiB of one upload, all in memory
        "config_kwargs": {
            "max_pool_connections": 32,
            "connect_timeout": 10,
            "read_timeout": 20,
            "retries": {"total_max_attempts": 1},
        },
    }
}
METADATA = {
    # A host of EC2 has its credentials of its metadata service, which is asked once, for a second.
    # Where there is none, ten seconds for the token and ten for the role are less than STALL_S.
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "5",
    "AWS_METADATA_SERVICE_TIMEOUT": "2",
}


def filesystem(where: str) -> tuple[Any, str]:
    """Fsspec's file system for a URL, and the path in it."""
    protocol = where.partition("://")[0]
    if protocol == "s3":
        for name, value in METADATA.items():
            os.environ.setdefault(name, value)
    try:
        fs, path = fsspec.core.url_to_fs(where, **OPTIONS.get(protocol, {}))
    except (ImportError, ValueError, OSError) as error:
        raise DataError(
            f"{where} cannot be opened ({error}): install what reads {protocol}:// "
            "(s3fs, gcsfs or adlfs), give it credentials, or correct the URL"
        ) from error
    if hasattr(fs, "retries"):
        fs.retries = 1
    return fs, path.rstrip("/")
