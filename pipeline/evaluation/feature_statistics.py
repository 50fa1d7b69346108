"""Features of real and of generated images: summed, and kept where a metric wants each.

Statistics of real images are written to a cache, so that they are computed once a data set.

Legend: n samples, N images of a batch, C channels, R resolution, K features.
"""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pipeline.evaluation.context import EvaluationContext, SampleRange
from stylealae.errors import ConfigError
from stylealae.metrics.features import to_pixels
from stylealae.metrics.fid import moments
from stylealae.tensor_file import write_tensors

__all__ = ["FeatureStatistics", "generated_statistics", "real_statistics"]

FORMAT = 1
MakeImages = Callable[[SampleRange], Tensor]
"""Images of a range of samples.  -> [N, C, R, R] in [-1, 1]"""


@dataclass(frozen=True)
class FeatureStatistics:
    """An extractor's features of many images."""

    moments: Tensor
    """[1 + K, 1 + K] float64 on the CPU."""
    rows: Tensor | None
    """[n, K] float32 on the CPU, if they are kept."""


def generated_statistics(
    context: EvaluationContext[object], role: str, name: str, n: int, images: MakeImages
) -> FeatureStatistics:
    """Statistics of n images that a model makes; a pass of one name is made once.  Collective."""
    key = "generated", name, role
    found = context.memo.get(key)
    if not isinstance(found, FeatureStatistics):
        found = context.memo[key] = _computed(context, role, n, name, images)
    return found


def real_statistics(
    context: EvaluationContext[object], role: str, split: str = "train"
) -> FeatureStatistics:
    """Statistics of a split's real images, from the cache if all ranks have them.  Collective."""
    key = "real", split, role
    found = context.memo.get(key)
    if not isinstance(found, FeatureStatistics):
        found = _read_cache(context, role, split)
        if context.world.any(found is None) or found is None:
            n, what = context.real_count(split), f"real images, {split}"
            found = _computed(context, role, n, what, lambda part: context.real(split, part))
            if not context.world.any(context.dataset.broken(split) > 0):
                _write_cache(context, role, split, found)  # another copy has no stand-ins
        context.memo[key] = found
    return found


def _computed(
    context: EvaluationContext[object], role: str, n: int, what: str, images: MakeImages
) -> FeatureStatistics:
    """One pass over n images, each rank over its batches.  Collective."""
    extractor, device = context.extractors[role], context.world.device
    size = 1 + extractor.width
    total = torch.zeros(size, size, dtype=torch.float64, device=device)

    def features(part: SampleRange) -> Tensor:
        found = extractor.features(to_pixels(images(part)))  # [N, K]
        total.add_(moments(found))
        return found

    rows = None
    if role in context.keep_rows:
        rows = context.gathered(n, extractor.width, what, features)
    else:
        for part in context.batches(n, what):
            features(part)
    return FeatureStatistics(context.world.sum(total).cpu(), rows)


def _cache_key(context: EvaluationContext[object], role: str, split: str) -> str:
    """All that statistics of real images depend on, as JSON."""
    manifest = context.dataset.manifest
    about = {
        "format": FORMAT,
        "data": manifest.digest,
        "filter": manifest.downscale,
        "split": split,
        "resolution": context.dataset.resolution,
        "images": context.real_count(split),
        "extractor": context.extractors[role].sha256,
    }
    return json.dumps(about, sort_keys=True)


def _cache_file(context: EvaluationContext[object], role: str, split: str) -> Path | None:
    digest = sha256(_cache_key(context, role, split).encode()).hexdigest()[:32]
    return context.cache and context.cache / f"{digest}.safetensors"


def _read_cache(
    context: EvaluationContext[object], role: str, split: str
) -> FeatureStatistics | None:
    """What an earlier pass left, if it kept as much as is wanted now."""
    file = _cache_file(context, role, split)
    try:
        held = load_file(file) if file else {}
    except (OSError, SafetensorError):  # none, or one torn by something else
        return None
    if "moments" not in held or (role in context.keep_rows and "rows" not in held):
        return None
    return FeatureStatistics(held["moments"], held.get("rows"))


def _write_cache(
    context: EvaluationContext[object], role: str, split: str, found: FeatureStatistics
) -> None:
    """Leaves statistics for the next time; of the ranks that share a folder, one writes them."""
    file = _cache_file(context, role, split)
    if file is None or context.rehearsed:
        return
    held = {"moments": found.moments} | ({} if found.rows is None else {"rows": found.rows})
    scratch = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_tensors(scratch, held, {"key": _cache_key(context, role, split)})
            os.replace(scratch, file)
    except BlockingIOError:
        return
    except OSError as error:
        raise ConfigError(
            f"cannot keep statistics in {file.parent} ({error.strerror}): name another --cache"
        ) from error
