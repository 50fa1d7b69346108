"""A Slurm of one host: munge, slurmctld and slurmd, from Debian, in namespaces of their own.

Inside there is a host called `localhost`, a loopback interface, and no process of anybody else's.
The first process of the namespace takes all others with it when it ends.  Two GPUs are claimed,
which are devices that every Linux has: Slurm counts them, a training on CPUs never opens them.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from trials.faults.hosts import SetUpError, run, wait_until

TOOLS = ("unshare", "nsenter", "ip", "munged", "slurmctld", "slurmd", "sbatch", "scontrol")
GPUS = ("/dev/null", "/dev/zero")
CONFIG = """
ClusterName=trial
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={work}/munge.socket
StateSaveLocation={work}/state
SlurmdSpoolDir={work}/spool
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
KillWait=30
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# getaddrinfo wants an address that is not loopback's before it resolves one that is.
INSIDE = """
set -e
hostname localhost
ip link set lo up
ip link add lan type bridge
ip address add 192.0.2.1/24 dev lan
ip link set lan up
exec sleep infinity
"""
START_S = 60


class Slurm:
    """The commands of a Slurm that runs."""

    def __init__(self, work: Path, init: psutil.Process) -> None:
        """Of a namespace whose first process is `init`."""
        self.work, self._init = work, init
        self._daemons: set[int] = set()
        self._outputs = work / "out"
        self._outputs.mkdir()

    def start(self) -> None:
        """Starts the three daemons and waits for a host that is idle."""
        key = self.work / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        files = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid",
                 "seed-file": "seed"}  # fmt: skip
        self._daemon(
            "munged", "--foreground", "--force",
            *(f"--{name}={self.work}/munge.{end}" for name, end in files.items()),
        )  # fmt: skip
        wait_until((self.work / "munge.socket").exists, START_S, "munge's socket")
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-N", "localhost")
        wait_until(lambda: "idle" in self._quietly("sinfo", "-h", "-o", "%T"), START_S,
                   f"an idle host (slurmctld and slurmd say why in {self._outputs})")  # fmt: skip
        self._daemons = set(self._pids())

    def submit(self, line: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
        """`sbatch`; the job's number."""
        return self._call("sbatch", "--parsable", *line, env=env, cwd=cwd).strip()

    def about(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        words = self._call("scontrol", "-o", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def update(self, job: str, **changes: object) -> None:
        """`scontrol update`."""
        given = (f"{key}={value}" for key, value in changes.items())
        self._call("scontrol", "update", f"JobId={job}", *given)

    def cancel(self, job: str, *options: str) -> None:
        """`scancel`."""
        self._call("scancel", *options, job)

    def left(self) -> list[str]:
        """The command lines of living processes that are not Slurm's own daemons."""
        found = []
        for pid in set(self._pids()) - self._daemons:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found

    def _pids(self) -> list[int]:
        """Every process of the namespace."""
        here = os.readlink(f"/proc/{self._init.pid}/ns/pid")
        found = []
        for pid in psutil.pids():
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/pid") == here:
                    found.append(pid)
        return found

    def _enter(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self._init.pid}", "--uts", "--net", "--pid", "--mount",
                "--wdns=/", *command]  # fmt: skip

    def _daemon(self, *command: str) -> None:
        with (self._outputs / command[0]).open("w") as out:
            subprocess.Popen(
                self._enter(*command), env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
        return {**kept, "SLURM_CONF": str(self.work / "slurm.conf"), **(env or {})}

    def _call(
        self, *command: str, env: Mapping[str, str] | None = None, cwd: Path = Path("/")
    ) -> str:
        # By way of `env`, as nsenter leaves its own working directory behind.
        return run(*self._enter("env", f"--chdir={cwd}", *command), env=self._environment(env))

    def _quietly(self, *command: str) -> str:
        try:
            return self._call(*command)
        except SetUpError:
            return ""


@contextmanager
def slurm(work: Path) -> Iterator[Slurm]:
    """A Slurm whose files lie in a folder; gone afterwards with all that ran in it.

    Raises:
        SetUpError: this machine cannot play it.
    """
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        raise SetUpError("a Slurm of one's own takes Linux's namespaces and root")
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise SetUpError(
                f"found no `{tool}`: apt-get install --no-install-recommends slurm-wlm munge "
                "iproute2 util-linux"
            )
    for folder in ("state", "spool"):
        (work / folder).mkdir(parents=True)
    config = CONFIG.format(work=work, cpus=os.cpu_count(), gpus=len(GPUS))
    (work / "slurm.conf").write_text(config)
    (work / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={','.join(GPUS)}\n")
    outer = subprocess.Popen(
        ["unshare", "--uts", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
         "sh", "-c", INSIDE],
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        found = Slurm(work, _first(psutil.Process(outer.pid)))
        found.start()
        yield found
    finally:
        outer.kill()  # --kill-child: the namespace's first process goes with it, and so do all
        outer.wait()


def _first(outer: psutil.Process) -> psutil.Process:
    """The first process of the namespace, once it has set up its network."""

    def ready() -> bool:
        with suppress(psutil.Error):
            return any(child.name() == "sleep" for child in outer.children())
        raise SetUpError("this machine does not let namespaces be made")

    wait_until(ready, START_S, "a namespace with a network")
    return outer.children()[0]
