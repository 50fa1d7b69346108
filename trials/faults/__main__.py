"""Hosts die, links break, disks fill: does a run end with the right weights?

    sudo python -m trials.faults                     every fault 5 times, in random order
    sudo python -m trials.faults --quick             every fault once: what `make faults` runs
    sudo python -m trials.faults --only link,head    those whose name holds one of the words
    sudo python -m trials.faults --soak 60           a random fault every minute for 60 minutes
    python -m trials.faults --list

Three hosts in network namespaces, real Ray and gloo, jobs through `ray job submit`. The table is
also written to build/faults.json; the exit code is 1 if anything is lost. docs/faults.md says more.
"""

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.pipeline.storage.bucket import bucket
from trials.faults.hosts import WORKERS, SetUpError, hosts, run
from trials.faults.job import BATCH, ROOT, STEPS, STOP_IMG, prepared, reference
from trials.faults.kinds import KINDS, Kind
from trials.faults.scene import DISK, Scene
from trials.faults.trial import Outcome, left_behind, sentence, try_all, try_for

TIMES = 5
console = Console(highlight=False, soft_wrap=True, width=120)


def main() -> None:
    """Does what the command line asks and tells how it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="every fault once")
    parser.add_argument("--only", default="", help="faults whose name holds one of these words")
    parser.add_argument("--soak", type=float, default=0, help="minutes of a fault every minute")
    parser.add_argument("--times", type=int, default=TIMES, help="how often each fault is done")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a stage; fewer: faster")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; drawn if not given")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    parser.add_argument("--list", action="store_true", help="print the faults")
    parser.add_argument("overrides", nargs="*", help="key=value of the runs' config")
    given = parser.parse_args()
    if given.steps * BATCH % STOP_IMG:
        parser.error(f"--steps is {given.steps}: give a multiple of {STOP_IMG // BATCH}")
    words = given.only.split(",")
    chosen = [kind for kind in KINDS if any(word in kind.name for word in words)]
    if given.list or not chosen:
        print(*(f"{kind.name}: {kind.inflict.__doc__}" for kind in KINDS), sep="\n")
        sys.exit(not given.list)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
    console.print(f"seed {seed}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without clearing up
    since = time.monotonic()
    try:
        with scene(random.Random(seed), given) as made:
            if given.soak:
                kinds = [kind for kind in chosen if kind.setting == "folder"]
                outcomes = try_for(made, kinds, given.soak * 60, console.print)
            else:
                outcomes = try_all(made, _order(chosen, given, made.chance), console.print)
            litter = left_behind(made)
    except SetUpError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(2)
    outcomes += [Outcome("after all of them", False, reason=f"left {name}") for name in litter]
    tell(outcomes, seed, time.monotonic() - since)
    sys.exit(not all(o.survived for o in outcomes))


def _order(chosen: Sequence[Kind], given: argparse.Namespace, chance: random.Random) -> list[Kind]:
    """Every fault as often as asked, those of a setting together; shuffled after the first time."""
    rounds = []
    for setting in dict.fromkeys(kind.setting for kind in chosen):
        kinds = [kind for kind in chosen if kind.setting == setting]
        for i in range(1 if given.quick else given.times):
            mixed = chance.sample(kinds, len(kinds)) if i and setting != "elastic" else kinds
            rounds += mixed
    return rounds


@contextmanager
def scene(chance: random.Random, given: argparse.Namespace) -> Iterator[Scene]:
    """Hosts with Ray on them, a small disk, an object store and an undisturbed run to compare."""
    work = Path(tempfile.mkdtemp(prefix="sf-", dir="/var/tmp"))  # short: sockets lie below
    try:
        with (
            hosts(work) as made,
            bucket(made.gateway) as store,
            _disk(work / "disk", keep=given.keep),
        ):
            _make_bucket(store.backend)
            console.print("three hosts, and an undisturbed run of the bare trainer to compare with")
            with ThreadPoolExecutor() as beside:
                hosts_are_up = beside.submit(made.power_on, WORKERS)
                data = prepared(work)
                undisturbed = reference(work, data, given.steps, given.overrides)
                hosts_are_up.result()
            console.print(f"... which took {undisturbed.seconds:.0f} s")
            yield Scene(made, work, data, undisturbed, store, chance)
    finally:
        if given.keep:
            console.print(f"kept {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


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


def _make_bucket(backend: tuple[str, int]) -> None:
    import fsspec

    client = {"endpoint_url": f"http://{backend[0]}:{backend[1]}"}
    fsspec.filesystem("s3", client_kwargs=client, skip_instance_cache=True).mkdir("faults")


def tell(outcomes: Sequence[Outcome], seed: int, took_s: float) -> None:
    """The table, and build/faults.json."""
    cores, load = os.cpu_count(), os.getloadavg()[2]
    about = f"{took_s / 60:.1f} minutes on {cores} cores, load {load:.0f}, seed {seed}"
    table = Table(title=f"faults, {about}", title_justify="left")
    for heading in ("fault", "tried", "survived", "s to the next step", "images lost"):
        first = heading == "fault"
        table.add_column(heading, justify="left" if first else "right", no_wrap=first)
    for name in dict.fromkeys(o.fault for o in outcomes):
        mine = [o for o in outcomes if o.fault == name]
        well = [o for o in mine if o.survived]
        seconds = [o.next_step_s for o in well]
        took = f"{statistics.median(seconds):.0f}, at most {max(seconds):.0f}" if seconds else "-"
        table.add_row(
            name, str(len(mine)), str(len(well)),
            took,
            str(max((o.lost_img for o in well), default="-")),
            style=None if len(well) == len(mine) else "red",
        )  # fmt: skip
    console.print(table)
    for o in outcomes:
        if not o.survived:
            console.print(sentence(o), style="red")
    out = ROOT / "build" / "faults.json"
    out.parent.mkdir(exist_ok=True)
    rows = [o.row() for o in outcomes]
    out.write_text(
        json.dumps(
            {"seed": seed, "seconds": took_s, "cores": cores, "load": load, "faults": rows},
            indent=2,
        )
    )
    console.print(str(out))


if __name__ == "__main__":
    main()
