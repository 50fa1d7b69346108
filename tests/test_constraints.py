"""All that the extras bring is pinned to what is tested with, and by hashes; uv takes the same."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
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


def test_the_file_of_hashes_has_these_versions_and_a_hash_of_each() -> None:
    text = re.sub(r" \\\n *", " ", (ROOT / "requirements.txt").read_text())
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    hashed = dict(re.findall(r"^([\w.-]+)==([\w.+-]+)", "\n".join(lines), re.M))
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}\b", line) for line in lines)
    assert len(hashed) == len(lines)
    named = {canonicalize_name(name): version for name, version in hashed.items()}
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    names = {canonicalize_name(Requirement(line).name) for line in asked} - {"stylealae"}
    assert names <= named.keys()
    assert {n: v for n, v in named.items() if PINNED.get(n, v) != v} == {}


def test_uv_takes_the_heavy_ones_as_pinned() -> None:
    heavy = [Requirement(line) for line in SETTINGS["tool"]["uv"]["constraint-dependencies"]]
    assert {one.name: str(one.specifier) for one in heavy} == {
        one.name: f"=={PINNED[one.name]}" for one in heavy
    }
    (group,) = SETTINGS["dependency-groups"]["dev"]
    assert Requirement(group).extras <= PROJECT["optional-dependencies"].keys()
