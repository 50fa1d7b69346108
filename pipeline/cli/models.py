"""The model that a command is given: a snapshot, a run's newest one, or a released checkpoint."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from stylealae.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from stylealae import StyleALAE

__all__ = ["device_of", "newest_run", "open_model", "snapshot_of"]


def open_model(path: Path, device: str = "auto") -> "StyleALAE":
    """The model of a snapshot, of a run's last finished stage, or of a released .pth file."""
    from stylealae import StyleALAE

    where = device_of(device)
    if path.is_file():
        return StyleALAE.from_released(path, device=where)
    return StyleALAE.load(snapshot_of(path), where)


def snapshot_of(path: Path) -> Path:
    """The snapshot folder at a path: itself, the newest of a run, or hf://owner/name[@revision].

    Raises:
        CheckpointError: there is none; it names the nearest that there is.
    """
    if path.parts[:1] == ("hf:",):  # what a Path leaves of hf://
        from stylealae.interop import hub

        return hub.model("/".join(path.parts[1:]))
    if _is_snapshot(path):
        return path
    found = _snapshots(path)
    if not found:
        raise CheckpointError(_nearest(path))
    return found[-1]


def newest_run(folder: Path) -> Path:
    """The run in a folder whose newest snapshot is the newest of all.

    Raises:
        CheckpointError: none has finished a stage.
    """
    found = {run: _snapshots(run) for run in folder.glob("*")}
    written = {run: (s[-1] / "config.json").stat().st_mtime for run, s in found.items() if s}
    if not written:
        raise CheckpointError(
            f"no run in {folder.absolute()} has finished a stage: name a model, or train one with "
            "`make demo`"
        )
    return max(written, key=lambda run: written[run])


def _is_snapshot(path: Path) -> bool:
    return (path / "config.json").is_file()


def _snapshots(run: Path) -> list[Path]:
    """The snapshots of a run, in the order of its stages."""
    stages = (stage for stage in run.glob("[0-9]*") if stage.name.isdecimal())
    found = (stage / "snapshot" for stage in sorted(stages, key=lambda stage: int(stage.name)))
    return [snapshot for snapshot in found if _is_snapshot(snapshot)]


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
        near = _alike(path)
    if near:
        mend = f"did you mean {near[-1]}?"
    elif any(path.glob("[0-9]*/seen-*")):
        mend = "its first stage is not finished; the command that began it goes on with it"
    else:
        mend = "give a folder such as runs/demo, or runs/demo/0032/snapshot"
    if not path.exists():
        return f"{path} does not exist: {mend}"
    return f"{path} is neither a snapshot nor a run that has finished a stage: {mend}"


def _alike(path: Path) -> list[Path]:
    """A folder that is there and whose name is like that of the first that is not."""
    missing = next((part for part in reversed(path.parents) if not part.exists()), path)
    beside = {child.name: child for child in missing.parent.glob("*") if child.is_dir()}
    padded = f"{missing.name:0>4}" if missing.name.isdecimal() else missing.name  # 32 is 0032
    names = [padded] if padded in beside else get_close_matches(missing.name, list(beside), 1)
    near = [beside[name] / path.relative_to(missing) for name in names]
    return [folder if folder.exists() else beside[names[0]] for folder in near]


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
        raise ConfigError(
            f"--device {name} cannot be used ({why}): give cpu, or leave it out"
        ) from error
    return name
