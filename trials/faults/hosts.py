"""Three hosts on one machine: network namespaces on a bridge, each with a Ray of its own.

A host has its own address, /dev/shm and temporary folder; the file system is shared between them,
as an NFS would be. What runs on it is found by `ip netns pids`, so nothing else is ever touched.
"""

import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

HEAD, WORKERS, SPARES = "head", ("one", "two"), ("three", "four")
NAMES = (HEAD, *WORKERS, *SPARES)
GCS_PORT, DASHBOARD_PORT = 6379, 8265
GONE, UNREACHABLE = "GONE", "UNREACHABLE"
STORE_BYTES = 100 << 20
STARTS = 4
RAY = Path(sys.executable).with_name("ray")
CLOCK = Path(__file__).with_name("clock.c")
TRAINER, DRIVER = "RayTrainWorker", "launch/demo.py"
AS_OTHERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""What follows may read and write as its files' modes say, which do not hold for root otherwise."""
NOTICES = {"RAY_health_check_timeout_ms": "4000", "RAY_health_check_failure_threshold": "3"}
"""A silent host is given up after 3 times 4 s, 3 s apart; left alone Ray takes a minute."""


class SetUpError(Exception):
    """This machine cannot play three hosts; the text says what it lacks."""


@dataclass(frozen=True)
class Host:
    """One namespace."""

    name: str
    space: str
    link: str
    address: str
    folder: Path

    def pids(self) -> list[int]:
        """Every process on it."""
        return [int(pid) for pid in run("ip", "netns", "pids", self.space).split()]

    def processes(self, *words: str) -> list[psutil.Process]:
        """Its living processes whose command line holds one of the words; all without a word."""
        found = []
        for pid in self.pids():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                line = " ".join(process.cmdline())
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and (not words or any(word in line for word in words)):
                    found.append(process)
        return found

    def shm(self) -> list[str]:
        """What lies in its /dev/shm."""
        return sorted(p.name for p in (self.folder / "shm").iterdir())


class Hosts:
    """A head, two workers, and two more that join when asked."""

    def __init__(self, work: Path, number: int) -> None:
        """None yet; `number` tells apart those that are there at the same time."""
        self.work, self.bridge = work, f"sa{os.getpid()}{number}"
        subnet = f"10.213.{(os.getpid() + number) % 250}"
        self.gateway, self.gone = f"{subnet}.254", False
        self.all = {
            name: Host(name, f"{self.bridge}-{name}", f"{self.bridge}v{i}", f"{subnet}.{i}",
                       work / name)
            for i, name in enumerate(NAMES, start=1)
        }  # fmt: skip
        token = work / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.client_env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://{self.all[HEAD].address}:{DASHBOARD_PORT}"

    def lay(self) -> None:
        """Makes the bridge, the namespaces and their folders."""
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{self.gateway}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for host in self.all.values():
            inside = ("ip", "-n", host.space)
            run("ip", "netns", "add", host.space)
            run("ip", "link", "add", host.link, "type", "veth", "peer", "name", "eth0",
                 "netns", host.space)  # fmt: skip
            run("ip", "link", "set", host.link, "master", self.bridge, "up")
            run(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "link", "set", "lo", "up")
            for part in ("shm", "ray"):
                (host.folder / part).mkdir(parents=True)
            run("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(host.folder / "shm"))
        for part in ("ray", "home"):
            (self.work / part).mkdir()

    def clear(self) -> None:
        """Kills what is left on the hosts and removes them; nothing is started there any more."""
        self.gone = True
        for host in self.all.values():
            with suppress(SetUpError):
                self.kill(host.name)
                run("ip", "netns", "delete", host.space)
            with suppress(SetUpError):
                run("umount", "--lazy", str(host.folder / "shm"))
        with suppress(SetUpError):
            run("ip", "link", "delete", self.bridge)

    def start(self, name: str, *, ahead_s: int = 0) -> None:
        """Starts Ray on a host; its clock is ahead by so many seconds."""
        host = self.all[name]
        place = (
            ("--head", f"--port={GCS_PORT}", f"--dashboard-host={host.address}", "--num-cpus=0",
             f"--dashboard-port={DASHBOARD_PORT}", f"--temp-dir={self.work / 'ray'}")
            if name == HEAD
            else (f"--address={self.all[HEAD].address}:{GCS_PORT}", "--num-cpus=1")
        )  # fmt: skip
        extra = NOTICES if name == HEAD else {}
        if ahead_s:
            extra = {"LD_PRELOAD": str(self.clock), "AHEAD_S": str(ahead_s)}
        line = [
            str(RAY), "start", *place, f"--node-ip-address={host.address}",
            f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats",
            "--include-log-monitor=false",
        ]  # fmt: skip
        for tries in reversed(range(STARTS)):
            # As on a new machine: the orphans of a head before are no reason not to start.
            (host.folder / "ray/ray_current_cluster").unlink(missing_ok=True)
            try:
                self.run(name, line, extra)
                return
            except SetUpError:  # Ray gives a raylet 30 s, which a busy machine may exceed
                if not tries:
                    raise
                self.kill(name, "raylet", "gcs_server", "ray/dashboard")

    def power_on(self, members: Sequence[str]) -> None:
        """Starts Ray on the head, then on all that join it."""
        self.start(HEAD)
        with ThreadPoolExecutor() as at_once:
            list(at_once.map(self.start, members))

    @cached_property
    def clock(self) -> Path:
        """What moves a host's clock; Linux's time namespaces know the monotonic clocks only."""
        made = self.work / "clock.so"
        run("cc", "-O2", "-shared", "-fPIC", "-o", str(made), str(CLOCK))
        return made

    def run(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Runs a command on a host and gives back what it printed."""
        if self.gone:
            raise SetUpError(f"host {name} is gone")
        host = self.all[name]
        mounts = (
            f"mount --bind {host.folder / 'shm'} /dev/shm && "
            f'mount --bind {host.folder / "ray"} {self.work / "ray"} && exec "$@"'
        )
        line = ("ip", "netns", "exec", host.space, "sh", "-c", mounts, "sh", *AS_OTHERS, *command)
        return run(*line, env={**self.environment(), **(env or {})})

    def environment(self) -> dict[str, str]:
        """Of everything that runs on a host."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_"))}
        return {
            **kept,
            **self.client_env,
            "HOME": str(self.work / "home"),  # where a run in an object store is spooled
            "TMPDIR": str(self.work / "ray"),
            "GLOO_SOCKET_IFNAME": "eth0",  # all hosts have this machine's name
            "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",
        }

    def ask(self, path: str) -> str:
        """What the head's dashboard answers; else GONE or UNREACHABLE."""
        request = urllib.request.Request(f"{self.dashboard}{path}", headers=self._headers())
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return GONE if error.code == 404 else UNREACHABLE
        except OSError:
            return UNREACHABLE

    def jobs(self) -> "JobSubmissionClient":
        """What submits and stops jobs, as `ray job` does in a process of its own."""
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.ERROR)  # or each file that is left out is named, every time
        return JobSubmissionClient(self.dashboard, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        token = Path(self.client_env["RAY_AUTH_TOKEN_PATH"]).read_text()
        return {"Authorization": f"Bearer {token}"}

    def kill(self, name: str, *words: str) -> None:
        """Kills, with -9, the processes of a host whose command line holds one of the words."""
        for _ in range(5):  # some start others while they are being killed
            processes = self.all[name].processes(*words)
            if not processes:
                return
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            psutil.wait_procs(processes, timeout=5)

    def link(self, name: str, *, up: bool) -> None:
        """Plugs a host's cable in or out."""
        run("ip", "link", "set", self.all[name].link, "up" if up else "down")

    def trainers(self) -> dict[str, list[psutil.Process]]:
        """Train workers and drivers by host."""
        return {name: host.processes(TRAINER, DRIVER) for name, host in self.all.items()}


@contextmanager
def hosts(work: Path, number: int = 0) -> Iterator[Hosts]:
    """The namespaces, gone afterwards with all that ran in them; others have other numbers."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        raise SetUpError("three hosts on one machine take Linux's network namespaces and root")
    for tool in ("ip", "mount", "setpriv", "cc"):
        if shutil.which(tool) is None:
            raise SetUpError(f"found no `{tool}`: install iproute2, util-linux and a C compiler")
    made = Hosts(work, number)
    try:
        made.lay()
        yield made
    finally:
        made.clear()


def wait_until(true: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Waits for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {timeout_s:.0f} s")
        time.sleep(0.2)


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Runs a command of this machine and gives back what it printed.

    Raises:
        SetUpError: it failed.
    """
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise SetUpError(f"`{' '.join(command)}` failed with {done.returncode}: {done.stdout}")
    return done.stdout
