"""A run in object stores other than S3: is it the run that it is in a folder?

    python -m trials.stores                  az:// in azurite, gs:// in its emulator
    python -m trials.stores --only az

On loopback, through the real adlfs and gcsfs: a data set is prepared into the store, verified there
and trained on from there; the run, which lies there too, is killed after its first checkpoints and
given again.  Its checkpoints must equal, bit for bit, those of a run in a folder that nothing
disturbed.

    pip install 'stylealae[az,gs]' gcp-storage-emulator
    npm install --prefix build/azurite azurite
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import fsspec
from rich.console import Console

from tests.pipeline.storage.azurite import azurite, program
from trials.faults.audit import Hashes, differences, hashes_of
from trials.faults.hosts import SetUpError, wait_until
from trials.faults.job import BATCH, ROOT, settings

STEPS, STAGES = 64, 2
PATIENCE_S = 600
console = Console(highlight=False, soft_wrap=True, width=120)

Environment = Mapping[str, str]


@contextmanager
def in_azure() -> Iterator[Environment]:
    """Azurite."""
    if find_spec("adlfs") is None:
        raise SetUpError("found no adlfs: pip install 'stylealae[az]'")
    if program() is None:
        raise SetUpError("found no azurite: npm install --prefix build/azurite azurite")
    with azurite() as env:
        yield env


@contextmanager
def in_google() -> Iterator[Environment]:
    """Google's emulator, which knows no conditional write."""
    if find_spec("gcsfs") is None or find_spec("gcp_storage_emulator") is None:
        raise SetUpError("found no gcsfs or no emulator: pip install gcsfs gcp-storage-emulator")
    from gcp_storage_emulator.server import create_server

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="runs")
    server.start()
    try:
        yield {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it asks for credentials
        }
    finally:
        server.stop()


STORES: dict[str, Callable[[], AbstractContextManager[Environment]]] = {
    "az": in_azure,
    "gs": in_google,
}


def main() -> None:
    """Plays every store; exits with 1 if something is lost, with 2 if one cannot be played."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=STORES, help="one of them")
    given = parser.parse_args()
    code = 0
    with tempfile.TemporaryDirectory(prefix="st-") as folder:
        work = Path(folder)
        command(["prepare", "64", "--source", "rendered", "--out", str(work / "data"),
                 "--resolutions", "4..8"], work)  # fmt: skip
        wanted = undisturbed(work)
        for name in [given.only] if given.only else STORES:
            try:
                with STORES[name]() as env:
                    console.print(f"survived  {name}://: {play(name, work, env, wanted)}")
            except SetUpError as error:
                console.print(f"error: {name}://: {error}", style="red")
                code = code or 2
            except (AssertionError, TimeoutError) as error:
                console.print(f"LOST      {name}://: {error}", style="red")
                code = 1
    sys.exit(code)


def train_line(data: str, run_dir: str) -> list[str]:
    """The command that trains; the same one every time."""
    total = STAGES * STEPS * BATCH
    return [
        "train", "configs/demo.yaml", *settings(STEPS), f"schedule.total_img={total}",
        f"data.path={data}", f"run_dir={run_dir}", "checkpoint.keep=1000",
    ]  # fmt: skip


def undisturbed(work: Path) -> Mapping[int, Hashes]:
    """Checkpoints of a run in a folder."""
    command(train_line(str(work / "data"), str(work / "run")), work)
    return checkpoints("file", str(work / "run"))


def play(name: str, work: Path, env: Environment, wanted: Mapping[int, Hashes]) -> str:
    """A data set and a run in a store; what was shown."""
    os.environ.update(env)
    place = f"{name}://runs"
    command(["prepare", "64", "--source", "rendered", "--out", f"{place}/data",
             "--resolutions", "4..8"], work)  # fmt: skip
    command(["verify", f"{place}/data"], work)
    line = train_line(f"{place}/data", f"{place}/run")
    with started(line, work, work / f"{name}.log") as process:
        wait_until(
            lambda: bool(checkpoints(name, "runs/run")) or process.poll() is not None,
            PATIENCE_S, "a checkpoint in the store",
        )  # fmt: skip
        process.send_signal(signal.SIGKILL)
    if process.returncode != -signal.SIGKILL:
        raise AssertionError(f"it ended before it was killed: {(work / f'{name}.log').read_text()}")
    at = max(checkpoints(name, "runs/run"))
    since = time.monotonic()
    command(line, work)
    took, found = time.monotonic() - since, checkpoints(name, "runs/run")
    if max(found) != max(wanted):
        raise AssertionError(f"the last checkpoint is at {max(found):,}, not {max(wanted):,}")
    if other := differences(found, wanted):
        raise AssertionError(f"other weights: {other[0]}")
    drivers = {file.rpartition("/")[2][:8] for file in store(name).find("runs/run/fence")}
    if "00000002" not in drivers:
        raise AssertionError(f"the fence names {sorted(drivers)}, not a second driver")
    return (
        f"killed after {at:,} images, ended {took:.0f} s later; {len(found)} checkpoints "
        "are the undisturbed run's to the bit"
    )


def store(protocol: str) -> fsspec.AbstractFileSystem:
    """A store as it is now."""
    return fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True)


def checkpoints(protocol: str, run_dir: str) -> dict[int, Hashes]:
    """Hashes of the tensors' files by images seen of every published checkpoint of a run."""
    fs = store(protocol)
    found = [path for path in fs.find(run_dir) if path.endswith("/manifest.json")]
    parts = {path: path.split("/")[-2] for path in found}
    return {
        int(part.removeprefix("seen-")): hashes_of(fs.cat_file(path))
        for path, part in parts.items()
        if part.startswith("seen-")
    }


def command(line: Sequence[str], work: Path) -> None:
    """Runs a command of ours to its end.

    Raises:
        AssertionError: it failed.
    """
    log = work / "command.log"
    with started(line, work, log) as process:
        process.wait(PATIENCE_S)
    if process.returncode:
        raise AssertionError(f"`stylealae {' '.join(line)}` failed: {log.read_text()}")


@contextmanager
def started(line: Sequence[str], work: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command of ours at work, its spool in the work folder; ended with the block."""
    (work / "home").mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "HOME": str(work / "home"), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as out, subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *line],
        cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    main()
