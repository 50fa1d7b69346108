"""What is asked of a model's files before they are believed: whole, of the claimed shapes, finite.

Each check ends in a `CheckpointError` with a sentence.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from stylealae.errors import CheckpointError
from stylealae.file_hash import sha256_of
from stylealae.networks.group import NetworkGroup

__all__ = ["require_file", "require_finite", "require_manifest", "require_shapes", "shapes_of"]

MANIFEST = "manifest.json"
MAX_TEXT = 1 << 20
"""Bytes: a longer config or manifest is none."""
POINTER = b"version https://git-lfs.github.com/spec/"
WEB_PAGE = (b"<!doctype html", b"<html")
HEAD = 64
"""Bytes by which something else is told from the file that was wanted."""

Shapes = Mapping[str, tuple[int, ...]]


def require_file(path: Path, *, advice: str, text: bool = False) -> None:
    """Refuses what is missing, no file, a Git-LFS pointer or, of `text`, too long to be read."""
    if not path.exists() and not path.parent.exists():
        raise CheckpointError(f"{path.parent} does not exist; {advice}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, and a file is wanted; {advice}")
    if not path.is_file():
        said = "is no file" if path.exists() else "is missing"
        raise CheckpointError(f"{path.parent} cannot be used: {path.name} {said}; {advice}")
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD)
    except OSError as error:
        raise CheckpointError(
            f"{path} is there and cannot be read ({error.strerror}): mend its permissions or the "
            "file system"
        ) from error
    if not head:
        raise CheckpointError(f"{path} is empty (0 bytes): copy or download it again; {advice}")
    if head.startswith(POINTER):
        raise CheckpointError(
            f"{path} is a Git-LFS pointer, not the file itself: run `git lfs pull` in its "
            "repository, or download the file"
        )
    if head.lstrip().lower().startswith(WEB_PAGE):
        raise CheckpointError(
            f"{path} is a web page (HTML), not the file itself: the download asked for a login or "
            "a click; download it again in a browser"
        )
    if text and path.stat().st_size > MAX_TEXT:
        raise CheckpointError(
            f"{path} has {path.stat().st_size:,} bytes, more than {MAX_TEXT:,}: it is none of ours"
        )


def require_manifest(folder: Path) -> None:
    """Refuses a folder whose files have not the hashes of its manifest, where there is one."""
    path = folder / MANIFEST
    if not path.exists():
        return
    require_file(path, advice="copy the folder again", text=True)
    try:
        hashes = {str(name): str(wanted) for name, wanted in _hashes(path).items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is torn ({error}): copy the folder again") from error
    for name, wanted in hashes.items():
        file = folder / PurePosixPath(name).name  # a bucket's manifest names a folder before it
        require_file(file, advice=f"{MANIFEST} names it, copy the folder again")
        if sha256_of(file) != wanted:
            raise CheckpointError(
                f"{folder} is no whole snapshot: {file.name} does not have the hash in {MANIFEST}; "
                f"copy the folder again, or remove {MANIFEST} if you have changed the file yourself"
            )


def _hashes(manifest: Path) -> Mapping[str, str]:
    hashes: Mapping[str, str] = json.loads(manifest.read_text())["sha256"]
    return hashes


def shapes_of(make: Callable[[], NetworkGroup]) -> Shapes:
    """The shape of everything that is saved of networks, by name; nothing is allocated."""
    with torch.device("meta"):
        nets = make()
        saved = {**nets.state_dict(), **nets.means()}
    return {name: tuple(tensor.shape) for name, tensor in saved.items()}


def require_shapes(where: object, found: Shapes, wanted: Shapes) -> None:
    """Refuses tensors that are missing, left over or of another shape than the config's."""
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        raise CheckpointError(
            f"{where} is no whole snapshot: its config and its weights differ, missing "
            f"{missing[:3]}, unknown {extra[:3]}"
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{where} is no whole snapshot: {name} has shape {list(found[name])}, its config "
                f"wants {list(shape)}"
            )


def require_finite(where: object, tensors: Mapping[str, Tensor]) -> None:
    """Refuses weights that are infinite or not a number."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{where}: {name} holds numbers that are not finite; it is damaged, or its "
                "training diverged: use an earlier one"
            )
