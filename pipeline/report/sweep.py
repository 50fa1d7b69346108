"""A sweep: one config, or several, with every combination of some keys' values, a run each.

`key=[a,b]` has two values; of a key whose value is a list itself, `key=[[a],[b]]` has.
"""

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig, load
from pipeline.storage import is_url
from stylealae.errors import ConfigError

__all__ = ["SweepRun", "runs_of"]


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One run of a sweep."""

    config: Path
    """Its config."""
    swept: dict[str, str]
    """The keys that the sweep varies, with this run's values."""
    overrides: tuple[str, ...]
    """All overrides, the folder among them."""
    cfg: RunConfig
    """What they come to."""
    title: str
    """The config's name in this sweep: its own, with folders where two are called alike."""

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return Path(self.cfg.run_dir)

    @property
    def name(self) -> str:
        """Config and values, as in `vae_2d/loss.beta=4,seed=0`."""
        return "/".join(part for part in (self.title, folder_name(self.swept)) if part)


def runs_of(configs: Sequence[Path], overrides: Sequence[str]) -> list[SweepRun]:
    """Every combination, the last key's values changing fastest; each in a folder of its own.

    Raises:
        ConfigError: a value is none that its key takes, or two runs would share a folder.
    """
    titles = _titles(configs)
    found = [
        replace(run, title=title)
        for config, title in zip(configs, titles, strict=True)
        for run in _combinations(config, overrides)
    ]
    if is_url(found[0].cfg.run_dir):
        raise ConfigError(
            f"run_dir is {found[0].cfg.run_dir}: a sweep reads what its runs leave, so name a "
            "folder, on a cluster one that all hosts share"
        )
    folders = [run.cfg.run_dir for run in found]
    twice = {folder for folder in folders if folders.count(folder) > 1}
    if twice:
        raise ConfigError(
            f"several runs of this sweep would lie in {', '.join(sorted(twice))}: leave run_dir to "
            "the configs, or sweep one config at a time; and give no value twice"
        )
    return found


def _titles(configs: Sequence[Path]) -> list[str]:
    """The configs' names; where two are called alike, all from the folder that holds them."""
    stems = [config.stem for config in configs]
    if len({*stems}) == len(stems):
        return stems
    places = [config.absolute().with_suffix("") for config in configs]
    top = os.path.commonpath([place.parent for place in places])
    return [place.relative_to(top).as_posix() for place in places]


def folder_name(swept: dict[str, str]) -> str:
    """`loss.beta=4,seed=0`, with characters that any storage takes."""
    return ",".join(f"{k}={re.sub(r'[^0-9A-Za-z.+-]+', '_', v)}" for k, v in swept.items())


def values_of(text: str, cfg: RunConfig, key: str) -> list[str]:
    """The values that a sweep gives a key: the entries of a list, or the one value that it is."""
    entries = _entries(text)
    if entries is None:
        return [text]
    if isinstance(_value(cfg, key), (list, tuple)):
        nested = bool(entries) and all(_entries(entry) is not None for entry in entries)
        return entries if nested else [text]
    if not entries:
        raise ConfigError(f"{key}=[] has no value to run with: give one, as in {key}=[1,2]")
    return entries


def _combinations(config: Path, overrides: Sequence[str]) -> list[SweepRun]:
    keys = dict(_split(override) for override in overrides)
    alone = load(config, [o for o in overrides if _entries(_split(o)[1]) is None])
    values = {key: values_of(text, alone, key) for key, text in keys.items()}
    swept = [key for key, text in keys.items() if values[key] != [text]]
    runs = []
    for chosen in itertools.product(*values.values()):
        given = dict(zip(keys, chosen, strict=True))
        varied = {key: given[key] for key in swept}
        folder = "/".join(part for part in (alone.run_dir, folder_name(varied)) if part)
        plain = [f"{key}={value}" for key, value in given.items() if key != "run_dir"]
        arguments = (*plain, f"run_dir={folder}")
        runs.append(
            SweepRun(
                config=config, swept=varied, overrides=arguments, cfg=load(config, arguments),
                title=config.stem,
            )
        )  # fmt: skip
    return runs


def _split(override: str) -> tuple[str, str]:
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"{override!r} is no override: write key=value, or key=[a,b] to sweep")
    return key, value.strip()


def _entries(text: str) -> list[str] | None:
    """`[a,[b,c]]` -> a and [b,c]; None if it is no list."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    parts, depth = [""], 0
    for letter in text[1:-1]:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts] if any(part.strip() for part in parts) else []


def _value(cfg: Any, key: str) -> object:
    """The value of `section.key`; of an unknown key None, which the config itself refuses."""
    for name in key.split("."):
        if not is_dataclass(cfg) or name not in {field.name for field in fields(cfg)}:
            return None
        cfg = getattr(cfg, name)
    found: object = cfg
    return found
