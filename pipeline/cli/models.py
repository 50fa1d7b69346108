"""The model that a command is given: a snapshot, a run's newest one, or a released checkpoint."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import PICTURES
from pipeline.training.model_folder import is_snapshot, snapshot_of, snapshots
from stylealae.errors import CheckpointError, ConfigError
from stylealae.interop.pretrained import DEFAULT

if TYPE_CHECKING:
    from stylealae import StyleALAE
    from stylealae.capabilities import Model

__all__ = ["copy_directions", "device_of", "newest_run", "open_any", "open_model"]


def open_model(path: Path, device: str = "auto") -> "StyleALAE":
    """The StyleALAE of a snapshot, of a run's last finished stage, or of a released .pth file.

    Raises:
        CheckpointError: there is none, or it is a model without styles.
    """
    from stylealae import StyleALAE

    m = open_any(path, device)
    if not isinstance(m, StyleALAE):
        raise CheckpointError(
            f"{path} is a model of the family {m.family!r}, and this is done with the styles of a "
            "StyleALAE; of any family are sample, reconstruct, encode, evaluate, report and compare"
        )
    return m


def open_any(path: Path, device: str = "auto") -> "Model":
    """As `open_model`, of whatever family."""
    from stylealae import StyleALAE
    from stylealae.families import load

    where = device_of(device)
    if path.suffix.lower() in PICTURES:
        raise CheckpointError(
            f"{path} is a picture, and a model is wanted first: give a run such as runs/demo, then "
            "the pictures"
        )
    if path.is_file() and is_snapshot(path.parent):
        raise CheckpointError(f"{path} is a file of a snapshot: give its folder, {path.parent}")
    if path.is_file():
        return StyleALAE.from_released(path, device=where)
    return load(snapshot_of(path), where)


def copy_directions(model: Path, folder: Path) -> None:
    """Copies the directions that are kept with a model, if any; a released .pth has none."""
    if not model.is_file():
        for file in snapshot_of(model).glob("directions.*"):
            shutil.copy(file, folder / file.name)


def newest_run(folder: Path) -> Path:
    """The run in a folder whose newest snapshot is the newest of all.

    Where none has finished a stage, the model that comes with the package.
    """
    found = {run: snapshots(run) for run in folder.glob("*")}
    written = {run: (s[-1] / "config.json").stat().st_mtime for run, s in found.items() if s}
    if not written:
        return Path(DEFAULT)
    return max(written, key=lambda run: written[run])


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
