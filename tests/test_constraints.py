"""constraints.txt pins all that the extras bring along, to the version that is tested with."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==([\w.+-]+)", (ROOT / "constraints.txt").read_text(), re.M
    )
}


def installed() -> dict[str, str]:
    """Every package that an extra asks for, and what these ask for, as far as they are here."""
    extras = PROJECT["optional-dependencies"]
    waiting = [*PROJECT["dependencies"], *(one for extra in extras.values() for one in extra)]
    asked, found = set(), {}
    while waiting:
        wanted = Requirement(waiting.pop())
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in asked or name == "stylealae":
            continue
        asked.add(key)
        try:
            there = distribution(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        found[name] = there.version.partition("+")[0]  # torch's build for this processor
        for line in there.requires or ():
            one = Requirement(line)
            environments = [{"extra": extra} for extra in wanted.extras or {""}]
            if one.marker is None or any(one.marker.evaluate(e) for e in environments):
                waiting.append(line)
    return found


def test_all_that_the_extras_bring_is_pinned() -> None:
    there = installed()
    assert {"torch", "numpy", "ray", "pytest"} <= there.keys()
    assert {name: PINNED.get(name) for name in there} == there
