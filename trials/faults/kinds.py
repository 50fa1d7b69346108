"""What can happen to a run: each fault does its harm, and the repairs that people would make."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tests.pipeline.storage.bucket import Fault as Answer
from trials.faults.hosts import DRIVER, GCS_PORT, HEAD, RAY, TRAINER, wait_until
from trials.faults.scene import PATIENCE_S, Scene

CUT_S, STORE_DOWN_S, DRAIN_S, AHEAD_S = 5, 30, 20, 600
SLOW_S, ANSWER_S = 120, 10.0
NOBODY = 65534


@dataclass(frozen=True)
class Kind:
    """One fault."""

    name: str
    inflict: Callable[[Scene], None]
    setting: Literal["folder", "store", "elastic"] = "folder"
    spoils: int = 0
    """Checkpoints that the fault itself destroys."""
    passes: bool = False
    """Whether the run may just go on when it is over."""
    needs: int = 6
    """Intervals of checkpoints that the run must still have before it."""


def kill_worker(scene: Scene) -> None:
    """One of the trainers dies."""
    trainers = [p for name in scene.members for p in scene.hosts.all[name].processes(TRAINER)]
    scene.chance.choice(trainers).send_signal(signal.SIGKILL)


def kill_raylet(scene: Scene) -> None:
    """A host's raylet dies, and with it what it started; Ray is started there again at once."""
    name = scene.a_member()
    scene.hosts.kill(name, "raylet/raylet")
    scene.hosts.start(name)


def kill_driver(scene: Scene) -> None:
    """The driver dies."""
    scene.hosts.kill(HEAD, DRIVER)


def kill_head(scene: Scene) -> None:
    """Ray's processes on the head die; driver and trainers live on as orphans. All starts anew."""
    head = scene.hosts.all[HEAD]
    for _ in range(2):
        drivers = head.processes(DRIVER)
        for process in head.processes():
            if process not in drivers:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        time.sleep(0.5)
    scene.power_on()


def cut_briefly(scene: Scene) -> None:
    """A host's cable is out for a moment."""
    name = scene.a_member()
    scene.hosts.link(name, up=False)
    time.sleep(CUT_S)
    scene.hosts.link(name, up=True)
    scene.lifted()


def cut_for_good(scene: Scene) -> None:
    """A host's cable is out; another host comes. What runs on the first must die by itself."""
    name = scene.a_member()
    scene.hosts.link(name, up=False)
    scene.replace(name)


def drain(scene: Scene) -> None:
    """A host is announced to go, another comes at once, and at the deadline the first is off."""
    name = scene.a_member()
    address = f"{scene.hosts.all[HEAD].address}:{GCS_PORT}"
    scene.hosts.run(
        HEAD,
        [str(RAY), "drain-node", f"--address={address}", f"--node-id={_node_id(scene, name)}",
         "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot instance reclaimed",
         f"--deadline-remaining-seconds={DRAIN_S}"],
    )  # fmt: skip
    scene.lifted()
    deadline = time.monotonic() + DRAIN_S
    scene.replace(name)

    def off() -> None:
        time.sleep(max(0.0, deadline - time.monotonic()))
        scene.hosts.kill(name)

    threading.Thread(target=off, daemon=True).start()


def _node_id(scene: Scene, name: str) -> str:
    """Ray's name of a host."""
    nodes = json.loads(scene.hosts.ask("/api/v0/nodes"))["data"]["result"]["result"]
    alive = {node["node_ip"]: node["node_id"] for node in nodes if node["state"] == "ALIVE"}
    return str(alive[scene.hosts.all[name].address])


def stop_job(scene: Scene) -> None:
    """`ray job stop`, and the same command again."""
    scene.job.stop()
    scene.await_end()
    scene.lifted()


def fill_disk(scene: Scene) -> None:
    """No room for the next checkpoint, until the run has noticed and a person made room."""
    scene.fill_disk()
    try:
        scene.await_end()
    finally:
        scene.free_disk()
    scene.lifted()


def store_down(scene: Scene) -> None:
    """The object store fails every request for a while, in two ways."""
    ways: tuple[Answer, ...] = (503, "reset")
    chance = random.Random(scene.chance.random())
    scene.bucket.misbehave = lambda method, path: chance.choice(ways)
    time.sleep(STORE_DOWN_S)
    scene.bucket.misbehave = lambda method, path: None
    scene.lifted()


def slow_store(scene: Scene) -> None:
    """The object store takes ten seconds for each request, for two minutes."""
    scene.bucket.delay_s = ANSWER_S
    try:
        time.sleep(SLOW_S)
    finally:
        scene.bucket.delay_s = 0.0
    scene.lifted()


def kill_in_upload(scene: Scene) -> None:
    """The uploading trainer dies when the first file of a checkpoint is there and no other."""
    victim, killed = scene.rank_zero(), threading.Event()
    there: dict[str, str] = {}  # the first file of each checkpoint

    def misbehave(method: str, path: str) -> Answer:
        _, _, name = path.partition("?")[0].partition("/seen-")
        if method not in ("PUT", "POST") or not name or killed.is_set():
            return None
        if there.setdefault(name[:10], name) == name:
            return None
        killed.set()
        victim.send_signal(signal.SIGKILL)
        return 503

    scene.bucket.misbehave = misbehave
    try:
        wait_until(killed.is_set, PATIENCE_S, "the upload of a checkpoint")
    finally:
        scene.bucket.misbehave = lambda method, path: None


def flip_bit(scene: Scene) -> None:
    """The driver dies, and a bit of the newest checkpoint is another."""
    file = _newest_weights(scene)
    content = bytearray(file.read_bytes())
    content[scene.chance.randrange(len(content))] ^= 1 << scene.chance.randrange(8)
    file.write_bytes(content)


def delete_file(scene: Scene) -> None:
    """The driver dies, and a file of the newest checkpoint is gone."""
    _newest_weights(scene).unlink()


def take_folder(scene: Scene) -> None:
    """The driver dies, and the newest checkpoint is another user's, who gives it back later.

    Meanwhile the command must end with the checkpoint's name, and not begin anew.
    """
    folder = _newest_weights(scene).parent
    owner = folder.stat()
    os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o700)
    try:
        began = len(scene.steps.begun)
        scene.job.submit()
        scene.await_end()
        told = scene.job.reason()
        if len(scene.steps.begun) > began or folder.name not in told:
            raise AssertionError(f"the run did not stop at what it cannot read, but told: {told}")
    finally:
        os.chown(folder, owner.st_uid, owner.st_gid)
        folder.chmod(owner.st_mode)
    scene.lifted()


def _newest_weights(scene: Scene) -> Path:
    """A file of the newest checkpoint of the run, which nobody writes any more."""
    kill_driver(scene)
    # The orphan of a host that was cut off may live for a minute more, fenced off.
    workers = [p for name in scene.members for p in scene.hosts.all[name].processes(TRAINER)]
    psutil.wait_procs(workers, timeout=60)
    newest = max(Path(scene.job.run_dir).glob("[0-9]*/seen-*/manifest.json")).parent
    return scene.chance.choice(sorted(newest.glob("*.safetensors")))


def clock_ahead(scene: Scene) -> None:
    """A host comes back with a clock ten minutes ahead of the others."""
    name = scene.a_member()
    scene.hosts.kill(name)
    scene.hosts.start(name, ahead_s=AHEAD_S)


def lose_host(scene: Scene) -> None:
    """A host is off and none comes: the run must go on with fewer."""
    name = scene.a_member()
    scene.hosts.kill(name)
    scene.members.remove(name)
    scene.spares.append(name)


def gain_host(scene: Scene) -> None:
    """A host comes: the run must grow again."""
    if len(scene.members) > 1:
        lose_host(scene)
        wait_until(lambda: scene.newest_attempt().size == 1, PATIENCE_S, "going on with one")
        scene.expect(passes=False)
    name = scene.spares.pop()
    scene.hosts.start(name)
    scene.members.append(name)
    scene.lifted()
    wait_until(lambda: scene.newest_attempt().size == 2, PATIENCE_S, "growing to two workers")


KINDS = (
    # First what leaves orphans: they take minutes to die, and the end of a run waits for them.
    Kind("link of a host cut for good, a new host", cut_for_good),
    Kind("Ray on the head, kill -9", kill_head),
    Kind("worker process, kill -9", kill_worker),
    Kind("clock of a host 10 minutes ahead", clock_ahead),
    Kind("raylet, kill -9", kill_raylet),
    Kind("driver, kill -9", kill_driver),
    Kind(f"link of a host cut for {CUT_S} s", cut_briefly, passes=True),
    Kind(f"host drained, off after {DRAIN_S} s, a new host", drain, needs=12),
    Kind("ray job stop", stop_job, needs=8),
    Kind("disk full", fill_disk),
    Kind("a bit of a checkpoint flipped, driver killed", flip_bit, spoils=1),
    Kind("a checkpoint's file deleted, driver killed", delete_file, spoils=1),
    Kind("a checkpoint of another user's, driver killed", take_folder),
    Kind(f"object store down for {STORE_DOWN_S} s", store_down, "store", passes=True, needs=4),
    Kind(
        f"object store takes {ANSWER_S:g} s a request for {SLOW_S} s",
        slow_store,
        "store",
        passes=True,
        needs=4,
    ),
    Kind("worker killed between two files of an upload", kill_in_upload, "store", needs=3),
    Kind("host off, none in its place", lose_host, "elastic"),
    Kind("host comes back", gain_host, "elastic", needs=25),
)
"""Those of one setting are done to the same run as long as it lasts."""
