"""Features of real and of generated images: summed, and kept where a metric wants each.

What is known of real images is written to a cache, so that it is computed once a data set.

Legend: n samples, N images of a batch, C channels, R resolution, K features.
"""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.evaluation.context import Part, Subject
from stylealae.errors import ConfigError
from stylealae.metrics.features import to_pixels
from stylealae.metrics.fid import moments

__all__ = ["Statistics", "of_generated", "of_real"]

FORMAT = 1
Draw = Callable[[Part], Tensor]


@dataclass(frozen=True)
class Statistics:
    """What an extractor saw in many images."""

    moments: Tensor
    """[1 + K, 1 + K] float64 on the CPU."""
    rows: Tensor | None
    """[n, K] float32 on the CPU, if they are kept."""


def of_generated(s: Subject[Any], role: str, name: str, n: int, images: Draw) -> Statistics:
    """What is seen in n images that a model makes; a pass of one name is made once.  Collective.

    `images` gives a part of them, [N, C, R, R] in [-1, 1].
    """
    if (name, role) not in s.memo:
        s.memo[name, role] = _seen(s, role, n, name, images)
    found: Statistics = s.memo[name, role]
    return found


def of_real(s: Subject[Any], role: str, split: str = "train") -> Statistics:
    """What is seen in a split's real images, from the cache if all ranks have it.  Collective."""
    if (split, role) not in s.memo:
        kept = _cached(s, role, split)
        if s.world.any(kept is None):
            n = s.real_count(split)
            kept = _seen(s, role, n, f"real images, {split}", lambda part: s.real(split, part))
            _keep(s, role, split, kept)
        s.memo[split, role] = kept
    found: Statistics = s.memo[split, role]
    return found


def _seen(s: Subject[Any], role: str, n: int, what: str, images: Draw) -> Statistics:
    """One pass over n images, each rank over its parts.  Collective."""
    extractor, device = s.extractors[role], s.world.device
    size = 1 + extractor.width
    total = torch.zeros(size, size, dtype=torch.float64, device=device)

    def features(part: Part) -> Tensor:
        found = extractor.features(to_pixels(images(part)))  # [N, K]
        total.add_(moments(found))
        return found

    rows = None
    if role in s.keep:
        rows = s.gathered(n, extractor.width, what, features)
    else:
        for part in s.mine(n, what):
            features(part)
    return Statistics(s.world.sum(total).cpu(), rows)


def _key(s: Subject[Any], role: str, split: str) -> dict[str, Any]:
    """All that statistics of real images depend on."""
    manifest = s.pictures.manifest
    return {
        "format": FORMAT,
        "data": manifest.digest,
        "filter": manifest.downscale,
        "split": split,
        "resolution": s.pictures.resolution,
        "images": s.real_count(split),
        "extractor": s.extractors[role].sha256,
    }


def _place(s: Subject[Any], role: str, split: str) -> Path | None:
    key = json.dumps(_key(s, role, split), sort_keys=True)
    return s.cache and s.cache / f"{sha256(key.encode()).hexdigest()[:32]}.safetensors"


def _cached(s: Subject[Any], role: str, split: str) -> Statistics | None:
    """What an earlier pass left, if it kept as much as is wanted now."""
    place = _place(s, role, split)
    try:
        held = load_file(place) if place else {}
    except (OSError, SafetensorError):  # none, or one torn by something else
        return None
    if "moments" not in held or (role in s.keep and "rows" not in held):
        return None
    return Statistics(held["moments"], held.get("rows"))


def _keep(s: Subject[Any], role: str, split: str, found: Statistics) -> None:
    """Leaves statistics for the next time; of the ranks that share a folder, one writes them."""
    place = _place(s, role, split)
    if place is None:
        return
    held = {"moments": found.moments} | ({} if found.rows is None else {"rows": found.rows})
    scratch = place.with_suffix(".partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = json.dumps(_key(s, role, split), sort_keys=True)
            save_file(held, scratch, metadata={"key": about})
            os.replace(scratch, place)
    except BlockingIOError:
        return
    except OSError as error:
        raise ConfigError(
            f"cannot keep statistics in {place.parent} ({error.strerror}): name another --cache"
        ) from error
