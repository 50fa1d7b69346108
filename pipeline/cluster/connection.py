"""The Ray that a run takes place on: one that is there, or one of our own on this host.

Our own listens on loopback only, asks for a token that nobody else has, and keeps its sockets and
logs in a folder of ours alone, which goes when we go.  On a cluster that
somebody else started, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (a file that only you can read)
do the same for every node, driver and command; docs/cluster.md says how.

What is set in os.environ here, Ray, gloo and NCCL read from the environment alone, of this process
and of those that Ray starts; where the user has set it before, the user's value stays.
"""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services

from pipeline.cluster.ray_job import in_job
from pipeline.cluster.session_folder import session_folder
from pipeline.process import share_cores
from stylealae.errors import ConfigError

__all__ = ["connected", "is_own"]

ANSWER_S = 5
"""A Ray that is there answers within milliseconds."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of HTTP/2, which Ray speaks, begins; the server's first frame is of type 4 too."""
STARTS = 3
OBJECT_STORE_BYTES = 150 << 20
CODE = Path(__file__).resolve().parents[2]
"""The folder that holds both packages: a checkout, or site-packages."""
LO = "lo0" if sys.platform == "darwin" else "lo"
OWN_RAY = {
    # What Ray does on a Mac: its address is 127.0.0.1, and its servers bind to that alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "GLOO_SOCKET_IFNAME": LO,
    "NCCL_SOCKET_IFNAME": LO,
    "RAY_worker_niceness": "0",  # 15 would yield to every other process
    "MALLOC_ARENA_MAX": "1",  # Ray trains in a thread, whose memory glibc gives back all the time
}


def is_own(address: str | None = None) -> bool:
    """Whether there is no Ray to join, so that one is started for the while."""
    return (address or os.environ.get("RAY_ADDRESS", "")) in ("", "local")


@contextmanager
def connected(cores: int, address: str | None = None) -> Iterator[None]:
    """A Ray to run on: that at `address` or RAY_ADDRESS, else one of our own for the while.

    Our own has so many cores, or, where that is 0, those that this process may use.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
    # A process for each group: the driver itself looks for hosts that are being drained.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    with ExitStack() as leaving:
        if is_own(address):
            folder = leaving.enter_context(session_folder())
            leaving.callback(ray.shutdown)
            _start(cores or len(os.sched_getaffinity(0)), folder, quiet)
        else:
            leaving.callback(ray.shutdown)
            address = address or os.environ["RAY_ADDRESS"]
            # A job's working directory carries the code; who joins by hand brings it along.
            packages = [str(CODE / "stylealae"), str(CODE / "pipeline")]
            _join(address, {} if in_job() else {"py_modules": packages}, quiet)
        yield


def _start(cores: int, folder: Path, quiet: dict[str, Any]) -> None:
    """Starts a Ray on this host, for this process and nobody else, its files in a folder."""
    for name, value in OWN_RAY.items():
        os.environ.setdefault(name, value)
    share_cores(training=True)
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # Ray turns authentication on by itself
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray_constants.ENABLE_RAY_CLUSTER = False  # read when ray was imported
    path = os.environ.get("PYTHONPATH")  # Ray's processes find the code by it
    os.environ["PYTHONPATH"] = f"{CODE}{os.pathsep}{path}" if path else str(CODE)
    for attempt in range(1, STARTS + 1):
        try:
            ray.init(
                "local",
                num_cpus=cores,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder / "ray"),  # which it makes everybody's to write
                **quiet,
            )
            return
        except Exception as error:  # it gives its own processes half a minute, whatever the load
            ray.shutdown()
            if attempt == STARTS:
                raise ConfigError(
                    f"Ray does not start on this host ({str(error).splitlines()[0]}): look whether "
                    "the machine is short of memory, of space in /tmp, or busy; then try again"
                ) from error


def _join(address: str, code: dict[str, Any], quiet: dict[str, Any]) -> None:
    """Joins the Ray at an address; `auto` is the one that was started on this host."""
    try:
        if address == "auto":
            address = _running_here()
        _require_answer(address)
        ray.init(address, runtime_env=code, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"no Ray answers at {address} ({reason}): start one with `ray start --head`, correct "
            "the address, or unset RAY_ADDRESS"
        ) from error


def _running_here() -> str:
    """The address of the Ray that was started on this host."""
    asked = os.environ.pop("RAY_ADDRESS", None)  # or Ray would look `auto` up as an address
    try:
        address: str = services.canonicalize_bootstrap_address_or_die("auto")
    finally:
        if asked is not None:  # a round asks `is_own` later
            os.environ["RAY_ADDRESS"] = asked
    return address


def _require_answer(address: str) -> None:
    """Fails at once where no Ray listens at an address; Ray itself would retry for minutes.

    Raises:
        OSError: nothing listens there, or something that does not speak Ray's protocol.
    """
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal() or os.environ.get("RAY_USE_TLS", "0") != "0":
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S) as asked:
        asked.sendall(PREFACE)
        try:
            answer = asked.recv(9)
        except TimeoutError:
            answer = b""
    if answer[3:4] != PREFACE[-6:-5]:
        said = f"it begins with {answer!r}" if answer else f"it says nothing for {ANSWER_S} s"
        raise OSError(f"something else listens there: {said}")
