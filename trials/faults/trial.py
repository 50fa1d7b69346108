"""Faults one after another on a run, and what is demanded after each and at the end.

After a fault the run must make steps again, by itself or by the same command; go on from a
checkpoint no older than the newest that was whole; and publish a checkpoint that equals, bit for
bit, that of an undisturbed run (with other numbers of workers: have been shown the same batches).
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from trials.faults.audit import Recovery, differences
from trials.faults.hosts import wait_until
from trials.faults.job import BATCH
from trials.faults.kinds import Kind
from trials.faults.scene import PATIENCE_S, Scene
from trials.faults.tasks import Tasks

Say = Callable[[str], None]
POLL_S, STORE_POLL_S = 0.1, 0.5
MINUTE_S = 60
MOST_SUBMISSIONS = 40
WRITING = 0.5
"""Of an interval: what a run may have been shown while the newest checkpoint was being written."""


@dataclass(frozen=True)
class Outcome:
    """One fault done to one run."""

    fault: str
    survived: bool
    next_step_s: float = 0.0
    lost_img: int = 0
    submissions: int = 0
    reason: str = ""

    def row(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def try_all(scene: Scene, tasks: Tasks, say: Say) -> list[Outcome]:
    """Does faults as long as there are some to do, in as few runs as they take."""
    outcomes: list[Outcome] = []
    while piece := tasks.take(scene.setting):
        for kind, scene.chance in piece:
            outcomes += _try(scene, kind, say)
    return [*outcomes, *_try_end(scene, say)]


def try_for(scene: Scene, kinds: Sequence[Kind], seconds: float, say: Say) -> list[Outcome]:
    """A random fault every minute, for so long; then the last run must come to its end."""
    outcomes: list[Outcome] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        due = time.monotonic() + MINUTE_S
        outcomes += _try(scene, scene.chance.choice(kinds), say)
        time.sleep(max(0.0, min(due, end) - time.monotonic()))
    return [*outcomes, *_try_end(scene, say)]


def _try(scene: Scene, kind: Kind, say: Say) -> list[Outcome]:
    """One fault, on the run that is going on if it suits, else on a new one."""
    ended = []
    if scene.setting and (scene.setting != kind.setting or not _room(scene, kind)):
        ended = _try_end(scene, say)
    try:
        if not scene.setting:
            scene.begin(kind.setting)
            scene.advance(scene.every_img // BATCH)
        outcome = suffer(scene, kind)
    except Exception as error:  # whatever went wrong, the fault was not survived
        outcome = _lost(scene, kind.name, error)
    say(sentence(outcome))
    return [*ended, outcome]


def _try_end(scene: Scene, say: Say) -> list[Outcome]:
    """Lets the run that is going on end; nothing if it ends well."""
    try:
        if scene.setting:
            _finish(scene)
            what = "all batches, the right weights, nothing left behind"
            say(f"ended     {scene.job.folder.name}: {what}")
    except Exception as error:
        outcome = _lost(scene, "end of a run", error)
        say(sentence(outcome))
        return [outcome]
    return []


def _lost(scene: Scene, name: str, error: Exception) -> Outcome:
    """What could not be survived; the hosts are started anew."""
    scene.power_off()
    scene.power_on()
    return Outcome(name, False, reason=f"{type(error).__name__}: {error}")


def sentence(o: Outcome) -> str:
    """An outcome for the console."""
    if not o.survived:
        return f"LOST      {o.fault}: {o.reason}"
    again = f", {o.submissions} more submissions" if o.submissions else ""
    cost = f"next step after {o.next_step_s:.1f} s, {o.lost_img} images lost{again}"
    return f"survived  {o.fault}: {cost}"


def suffer(scene: Scene, kind: Kind) -> Outcome:
    """One fault at a random moment of the run that is going on."""
    interval = scene.every_img
    scene.advance(scene.chance.randrange(1, interval // BATCH + 1))
    time.sleep(scene.chance.random() * 0.2)
    whole = max(scene.published(), default=0)
    submitted = scene.job.submitted
    scene.expect(passes=kind.passes)
    kind.inflict(scene)
    recovery = _recovered(scene)
    # With `spoils`, the checkpoints that the fault itself has destroyed are not asked for.
    allowed = (1 + kind.spoils + WRITING) * interval
    resumed = scene.newest_attempt().first if recovery.resumed else whole
    problems = []
    if resumed < whole - kind.spoils * interval:
        problems.append(f"went on from {resumed} although the checkpoint at {whole} was whole")
    if recovery.lost_img > allowed:
        problems.append(f"{recovery.lost_img} images lost")
    before = scene.steps.seen
    _await(
        scene, lambda: max(scene.published(), default=0) > before, "a checkpoint after it",
        STORE_POLL_S if scene.setting == "store" else POLL_S,
    )  # fmt: skip
    problems += _wrong(scene)
    return Outcome(
        kind.name, not problems, recovery.next_step_s, recovery.lost_img,
        scene.job.submitted - submitted, "; ".join(problems),
    )  # fmt: skip


def _recovered(scene: Scene) -> Recovery:
    found: list[Recovery] = []

    def made() -> bool:
        if recovery := scene.watch.recovery():
            found.append(recovery)
        return bool(found)

    _await(scene, made, "the next step")
    return found[0]


def _await(scene: Scene, true: Callable[[], bool], what: str, poll_s: float = POLL_S) -> None:
    """Waits, and gives the same command again whenever Ray says that the job has ended."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        time.sleep(poll_s)
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come in {PATIENCE_S} s: {scene.job.reason()}")
        if scene.job.status() == "SUCCEEDED":
            if true():
                return
            raise AssertionError(f"the run was over before {what}")
        if scene.job.ended():
            if scene.job.submitted > MOST_SUBMISSIONS:
                raise TimeoutError(f"{MOST_SUBMISSIONS} submissions: {scene.job.reason()}")
            scene.job.submit()


def _room(scene: Scene, kind: Kind) -> bool:
    """Whether the run is long enough for another fault; else it is let go, and a new one begun."""
    return scene.steps.seen + kind.needs * scene.every_img < scene.total_img


def _wrong(scene: Scene) -> list[str]:
    """What a run shows that an undisturbed one does not."""
    scene.job.steps.update()
    batches, problems = scene.job.steps.global_batches()
    wanted = scene.reference.batches(max(batches, default=0) + 1)
    other = [s for s, ids in batches.items() if wanted.get(s) != ids]
    problems += [f"another batch at {seen}" for seen in other[:1]]
    if scene.setting != "elastic":
        theirs = scene.published()
        ours = scene.reference.checkpoints(max(theirs, default=0))
        other_weights = differences(theirs, ours)
        problems += [f"other weights: {name}" for name in other_weights[:1]]
    return problems


def _finish(scene: Scene) -> None:
    """Lets a run come to its end, and demands everything of it.

    Raises:
        AssertionError: something is lost, or something is left behind.
        TimeoutError: it does not end, or leaves processes behind.
    """
    _await(scene, lambda: scene.job.status() == "SUCCEEDED", "the end of the run")
    problems = _wrong(scene)
    shown = scene.reference.batches(scene.total_img)
    wanted = {seen for seen in shown if seen < scene.total_img}
    missing = wanted - scene.job.steps.global_batches()[0].keys()
    if missing:
        problems.append(f"{len(missing)} batches were never shown, the first {min(missing)}")
    if scene.total_img not in scene.published():
        problems.append("the last checkpoint is missing")
    scene.no_orphans()
    if scene.setting != "store":
        scraps = list(Path(scene.job.run_dir).rglob("*.partial"))
        problems += [f"left behind: {scrap.name}" for scrap in scraps]
    if problems:
        raise AssertionError(f"{scene.job.folder.name} ({scene.setting}): {'; '.join(problems)}")
    scene.setting = ""


def left_behind(scene: Scene) -> list[str]:
    """What lies in /dev/shm of hosts whose processes are gone."""
    with ThreadPoolExecutor() as at_once:
        list(at_once.map(scene.hosts.kill, scene.hosts.all))
    wait_until(lambda: not any(h.pids() for h in scene.hosts.all.values()), 30, "empty hosts")
    return [f"{name}: /dev/shm/{file}" for name, h in scene.hosts.all.items() for file in h.shm()]
