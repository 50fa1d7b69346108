"""Hosts die, links break, disks fill: does a run end with the right weights?

    sudo python -m trials.faults                     every fault 5 times, in random order
    sudo python -m trials.faults --quick             every fault once: what `make faults` runs
    sudo python -m trials.faults --only link,head    those whose name holds one of the words
    sudo python -m trials.faults --soak 60           a random fault every minute for 60 minutes
    sudo python -m trials.faults --lanes 1           one after the other, never two at once
    python -m trials.faults --list

Three hosts a lane in network namespaces, real Ray and gloo, jobs as by `ray job submit`. The table
is also written to build/faults.json; the exit code is 1 if anything is lost. docs/faults.md says
more.
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
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trials.faults.hosts import SetUpError
from trials.faults.job import BATCH, ROOT
from trials.faults.kinds import KINDS
from trials.faults.lanes import lanes, play
from trials.faults.reference import STEPS, STOP_IMG
from trials.faults.tasks import Tasks
from trials.faults.trial import Outcome, left_behind, sentence, try_for

TIMES, LANES = 5, 3
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
    parser.add_argument("--lanes", type=int, default=LANES, help="faults that are done at once")
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
    since, count = time.monotonic(), 1 if given.soak else given.lanes
    try:
        with (
            _folder(keep=given.keep) as work,
            lanes(work, count, given.steps, given.overrides, keep=given.keep) as (scenes, compared),
        ):
            console.print(f"{count} times three hosts, after {time.monotonic() - since:.0f} s")
            if given.soak:
                kinds = [kind for kind in chosen if kind.setting == "folder"]
                scenes[0].chance = random.Random(seed)
                outcomes = try_for(scenes[0], kinds, given.soak * 60, console.print)
            else:
                tasks = Tasks(chosen, 1 if given.quick else given.times, seed)
                outcomes = play(scenes, tasks, console.print)
            with ThreadPoolExecutor() as at_once:
                litter = [name for left in at_once.map(left_behind, scenes) for name in left]
            console.print(f"the undisturbed run took {compared.seconds:.0f} s, beside the others")
    except SetUpError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(2)
    outcomes += [Outcome("after all of them", False, reason=f"left {name}") for name in litter]
    tell(outcomes, seed, time.monotonic() - since)
    sys.exit(not all(o.survived for o in outcomes))


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """Where everything lies."""
    work = Path(tempfile.mkdtemp(prefix="sf-", dir="/var/tmp"))  # short: sockets lie below
    try:
        yield work
    finally:
        if keep:
            console.print(f"kept {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


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
