"""The model that a command is given: a snapshot, a run's newest one, or a released checkpoint."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import PICTURES
from stylealae.errors import CheckpointError, ConfigError, alike
from stylealae.interop.pretrained import DEFAULT, pretrained

if TYPE_CHECKING:
    from stylealae import StyleALAE

__all__ = ["copy_directions", "device_of", "hub_name", "newest_run", "open_model", "snapshot_of"]


def open_model(path: Path, device: str = "auto") -> "StyleALAE":
    """The model of a snapshot, of a run's last finished stage, or of a released .pth file."""
    from stylealae import StyleALAE

    where = device_of(device)
    if path.suffix.lower() in PICTURES:
        raise CheckpointError(
            f"{path} is a picture, and a model is wanted first: give a run such as runs/demo, then "
            "the pictures"
        )
    if path.is_file() and _is_snapshot(path.parent):
        raise CheckpointError(f"{path} is a file of a snapshot: give its folder, {path.parent}")
    if path.is_file():
        return StyleALAE.from_released(path, device=where)
    return StyleALAE.load(snapshot_of(path), where)


def snapshot_of(path: Path) -> Path:
    """The snapshot folder at a path: itself, the newest of a run, or hf://owner/name[@revision].

    A name such as rendered_64, where nothing lies, is that of a model which comes with the package.

    Raises:
        CheckpointError: there is none; it names the nearest that there is.
    """
    if name := hub_name(path):
        from stylealae.interop import hub

        return hub.model(name)
    if _is_snapshot(path):
        return path
    if not path.exists() and (with_package := pretrained(str(path))):
        return with_package
    found = _snapshots(path)
    if not found:
        raise CheckpointError(_nearest(path))
    begun = [stage / "snapshot" for stage in _stages(path) if (stage / "snapshot").is_dir()]
    if begun[-1] != found[-1]:
        raise CheckpointError(
            f"{begun[-1]} is the newest snapshot of the run and has no config.json: copy the "
            f"folder again, or name an earlier one, {found[-1]}"
        )
    return found[-1]


def copy_directions(model: Path, folder: Path) -> None:
    """Copies the directions that are kept with a model, if any; a released .pth has none."""
    if not model.is_file():
        for file in snapshot_of(model).glob("directions.*"):
            shutil.copy(file, folder / file.name)


def hub_name(path: Path) -> str:
    """`owner/name[@revision]` of a path that was hf://owner/name; empty of any other."""
    return "/".join(path.parts[1:]) if path.parts[:1] == ("hf:",) else ""  # what a Path leaves


def newest_run(folder: Path) -> Path:
    """The run in a folder whose newest snapshot is the newest of all.

    Where none has finished a stage, the model that comes with the package.
    """
    found = {run: _snapshots(run) for run in folder.glob("*")}
    written = {run: (s[-1] / "config.json").stat().st_mtime for run, s in found.items() if s}
    if not written:
        return Path(DEFAULT)
    return max(written, key=lambda run: written[run])


def _is_snapshot(path: Path) -> bool:
    return (path / "config.json").is_file()


def _snapshots(run: Path) -> list[Path]:
    """The snapshots of a run, in the order of its stages."""
    found = (stage / "snapshot" for stage in _stages(run))
    return [snapshot for snapshot in found if _is_snapshot(snapshot)]


def _stages(run: Path) -> list[Path]:
    """The folders of a run's stages, in order."""
    stages = (stage for stage in run.glob("[0-9]*") if stage.name.isdecimal())
    return sorted(stages, key=lambda stage: int(stage.name))


def _nearest(path: Path) -> str:
    """Why there is no snapshot at a path, and what is near it."""
    if path.is_file():
        return (
            f"{path} is a file, and a snapshot is a folder: turn it into one with `stylealae "
            "import`, or name a folder for directions with --out or --directions"
        )
    if path.exists():
        near = sorted(child for child in path.glob("*") if _is_snapshot(child) or _snapshots(child))
    else:
        near = [found] if (found := alike(path, Path.is_dir)) else []
    if near:
        mend = f"did you mean {near[-1]}?"
    elif any(path.glob("[0-9]*/seen-*")):
        mend = "its first stage is not finished; the command that began it goes on with it"
    else:
        mend = "give a folder such as runs/demo, or runs/demo/0032/snapshot"
    if not path.exists():
        return f"{path} does not exist: {mend}"
    return f"{path} is neither a snapshot nor a run that has finished a stage: {mend}"


def device_of(name: str) -> str:
    """The device that `--device` names, for torch.

    Raises:
        ConfigError: it cannot be used here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        if "Expected one of" in why:  # and then forty
            why = "there is no such device"
        raise ConfigError(
            f"--device {name} cannot be used ({why}): give cpu, cuda or cuda:1, or leave it out"
        ) from error
    return name
