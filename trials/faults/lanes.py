"""Lanes: hosts, a disk and an object store of their own each, where faults are done at once.

Most of what follows a fault is waiting: for Ray, for a store, for processes that load libraries.
"""

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import fsspec

from tests.pipeline.storage.bucket import Bucket, bucket
from trials.faults.hosts import WORKERS, Hosts, SetUpError, hosts, run
from trials.faults.reference import Reference, prepared, reference
from trials.faults.scene import DISK, Scene
from trials.faults.tasks import Tasks
from trials.faults.trial import Outcome, Say, try_all

BUCKET = "faults"


@contextmanager
def lanes(
    work: Path, count: int, steps: int, overrides: Sequence[str], *, keep: bool
) -> Iterator[tuple[list[Scene], Reference]]:
    """So many lanes with Ray on them, and the undisturbed run that goes on beside them."""
    with ExitStack() as leaving, ThreadPoolExecutor() as beside:
        laid = [
            leaving.enter_context(_hosts(work / str(i), number=i, keep=keep)) for i in range(count)
        ]
        up = [beside.submit(made.power_on, WORKERS) for made, _ in laid]
        data = prepared(work)
        undisturbed = leaving.enter_context(reference(work, data, steps, overrides))
        for started in up:
            started.result()
        for made, _ in laid:  # of its own: one process at a time looks whether a data set is made
            shutil.copytree(data, made.work / "data")
        yield [Scene(made, store, undisturbed) for made, store in laid], undisturbed


def play(scenes: Sequence[Scene], tasks: Tasks, say: Say) -> list[Outcome]:
    """Does all faults, each in the next lane that is free.

    Raises:
        SetUpError: the hosts of a lane do not start any more.
    """
    outcomes: list[Outcome] = []
    errors: list[Exception] = []

    def play_one(number: int, scene: Scene) -> None:
        try:
            outcomes.extend(try_all(scene, tasks, lambda text: say(f"{number}  {text}")))
        except Exception as error:
            errors.append(error)

    # Daemons: who ends the trial meanwhile clears up beneath them, and does not wait.
    threads = [
        threading.Thread(target=play_one, args=(i, scene), daemon=True)
        for i, scene in enumerate(scenes, start=1)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)  # and not in a lock, where a signal waits
    if errors:
        raise errors[0]
    return outcomes


@contextmanager
def _hosts(work: Path, number: int, *, keep: bool) -> Iterator[tuple[Hosts, Bucket]]:
    """A lane's hosts, with nothing on them yet, its small disk and its object store."""
    work.mkdir()
    with (
        hosts(work, number) as made,
        bucket(made.gateway) as store,
        _disk(work / "disk", keep=keep),
    ):
        client = {"endpoint_url": f"http://{store.backend[0]}:{store.backend[1]}"}
        fs = fsspec.filesystem("s3", client_kwargs=client, skip_instance_cache=True)
        fs.makedirs(BUCKET, exist_ok=True)  # what moto keeps, all of its servers know
        yield made, store


@contextmanager
def _disk(folder: Path, *, keep: bool) -> Iterator[None]:
    """A small disk of its own at `folder`; what was on it is kept beside it if asked."""
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder))
    try:
        yield
    finally:
        if keep:
            shutil.copytree(folder, folder.with_name("kept"), ignore_dangling_symlinks=True)
        with suppress(SetUpError):
            run("umount", "--lazy", str(folder))
