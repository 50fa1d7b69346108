"""The files of a run: their names, how they are published, and how they are verified.

<run>/<resolution>/seen-<images>/       a checkpoint
<run>/<resolution>/snapshot/            the stage's snapshot, and the mark that it is done
"""

import logging
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.storage import Storage, nothing
from pipeline.storage.disk import full_disk_advice, is_full
from pipeline.storage.publish import MANIFEST
from pipeline.training.fencing import Fence
from stylealae.errors import CheckpointError, UserError

__all__ = [
    "CHECKPOINTS",
    "LOGS",
    "SNAPSHOT",
    "checkpoint_name",
    "publish",
    "seen_of",
    "stage_folder",
    "stage_name",
    "sweep",
    "verified",
]

log = logging.getLogger(__name__)

SEEN_DIGITS = 10
CHECKPOINTS = "seen-" + "[0-9]" * SEEN_DIGITS
"""Pattern of a checkpoint's name: no copy that someone put beside."""
SNAPSHOT = "snapshot"
LOGS = ("metrics.jsonl", "environment.jsonl", "tensorboard", "images", "profile")
"""What a run in a bucket writes on this host, and has brought there."""


def stage_name(stage: int) -> str:
    """The folder of a stage in its run, named by its resolution."""
    return f"{4 << stage:04d}"


def checkpoint_name(seen: int) -> str:
    """The folder of a checkpoint in its stage."""
    return f"seen-{seen:0{SEEN_DIGITS}d}"


def seen_of(name: str) -> int:
    """Images seen, by the name of a checkpoint: the inverse of `checkpoint_name`."""
    return int(name[-SEEN_DIGITS:])


def stage_folder(run_dir: Path, stage: int) -> Path:
    """The folder of one stage of a run on a disk."""
    return run_dir / stage_name(stage)


def publish(
    storage: Storage,
    final: str,
    write: Callable[[Path], None],
    fence: Fence | None,
    *,
    goes_on_from: Callable[[], str] = lambda: "the newest checkpoint",
) -> None:
    """Publishes the folder that `write` fills; an error says where the run goes on from.

    Raises:
        CheckpointError: it could not be written (a full disk, say).
    """
    mark, gate = (fence.token, fence.require) if fence else ("", nothing)
    try:
        with storage.publish(final, mark=mark, gate=gate) as scratch:
            write(scratch)
    except UserError:
        raise
    except Exception as error:  # whatever the disk and the libraries raise
        full = is_full(error)
        mend = full_disk_advice(storage.working) if full else "free some space or mend the folder"
        raise CheckpointError(
            f"could not write {storage.at(final)} ({type(error).__name__}: {error}): {mend}, then "
            f"give the same command again; it goes on from {goes_on_from()}"
        ) from error


def verified(storage: Storage, name: str) -> Path | str:
    """A published folder on this host, every byte as it was written, or what is torn of it.

    Raises:
        CheckpointError: it is there and cannot be read, which says nothing about what it holds.
    """
    try:
        # Of a store's checkpoints one is kept on a host; models that others use stay.
        is_checkpoint = fnmatchcase(Path(name).name, CHECKPOINTS)
        folder = storage.verified(name, replacing=CHECKPOINTS if is_checkpoint else "")
        if unknown := _unknown(storage, name):
            log.warning("%s holds files that its manifest does not name: %s", folder, unknown)
        return folder
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    except OSError as error:
        raise CheckpointError(
            f"{storage.at(name)} is there and cannot be read ({error}), and the run does not begin "
            "again over it: mend the permissions or the file system, then give the same command"
        ) from error


def _unknown(storage: Storage, name: str) -> str:
    """Files of a published folder that somebody else has put there."""
    if storage.remote:  # there another writer's files may lie beside
        return ""
    known = {MANIFEST, *storage.hashes(name)}
    return ", ".join(file for file in storage.names(name) if file not in known)


def sweep(storage: Storage, folder: str, fence: Fence | None) -> None:
    """Drops what somebody was writing who was killed or came before."""
    for scrap in storage.scraps(folder):
        mark = ".".join(scrap.name.split(".")[2:-1])  # of .seen-0000000096.00000007.0002.partial
        if fence is None or fence.outranks(mark):
            shutil.rmtree(scrap, ignore_errors=True)
