"""The Hugging Face hub: models and images by `owner/name`, never code and never a pickle.

The library's own environment holds: HF_TOKEN, HF_HOME (its cache), HF_HUB_OFFLINE=1 (the cache
alone) and HF_ENDPOINT (another hub).  Tested against a hub on loopback, untried against the real
one.
"""

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self

import torch

from stylealae.errors import CheckpointError, ConfigError, DataError, UserError

__all__ = ["SCHEME", "OnHub", "dataset", "model", "push"]

SCHEME = "hf://"
SNAPSHOT = ["config.json", "model.safetensors", "directions.json", "directions.safetensors"]
"""What is fetched of a model: nothing else is read, whatever else its repository holds."""


class OnHub:
    """A model with `load` and `save` that can come from the hub, and go there."""

    if TYPE_CHECKING:

        @classmethod
        def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
            """The model of a snapshot folder."""

        def save(self, folder: Path, *, origin: str = "") -> None:
            """Writes weights, config and model card into an existing folder."""

    @classmethod
    def from_pretrained(cls, name: str, device: str | torch.device = "cpu") -> Self:
        """The model of a repository: `owner/name`, or `owner/name@revision` for good.

        A branch moves; a commit's hash is the same weights tomorrow.

        Raises:
            CheckpointError: there is none, it cannot be reached, or it is no snapshot.
            ConfigError: huggingface_hub is not installed.
        """
        return cls.load(model(name), device)

    def push_to_hub(self, name: str, *, private: bool = False, origin: str = "") -> str:
        """Uploads weights, config and card to `owner/name`, made if there is none.  -> its commit

        `origin` is the card's sentence on where the weights are from.

        Raises:
            CheckpointError: the hub refuses it.
        """
        with TemporaryDirectory() as folder:
            self.save(Path(folder), origin=origin)
            return push(Path(folder), name, private=private)


def model(name: str) -> Path:
    """A folder with the snapshot `owner/name[@revision]`, from the cache if it is there."""
    return _fetched(name, "model", SNAPSHOT, CheckpointError)


def dataset(name: str) -> Path:
    """A folder with the Parquet files of `owner/name[@revision]`, from the cache if it is there."""
    return _fetched(
        name.removeprefix(SCHEME).removeprefix("datasets/"), "dataset", ["*.parquet"], DataError
    )


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Uploads a folder to `owner/name`, made if there is none.  -> the commit's hash

    Raises:
        CheckpointError: the hub refuses it.
    """
    hub = _library()
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        return str(hub.upload_folder(folder_path=folder, repo_id=name).oid)
    except _failures(hub) as error:
        raise CheckpointError(
            f"{name} could not be pushed ({_why(error)}): log in with `hf auth login`, or set "
            "HF_TOKEN to a token that may write there"
        ) from error


def _fetched(
    name: str, kind: Literal["model", "dataset"], files: list[str], refusal: type[UserError]
) -> Path:
    hub = _library()
    repo, _, revision = name.removeprefix(SCHEME).partition("@")
    try:
        found = hub.snapshot_download(
            repo, repo_type=kind, revision=revision or None, allow_patterns=files
        )
    except _failures(hub) as error:
        raise refusal(
            f"the {kind} {name} cannot be had from the hub ({_why(error)}): write owner/name or "
            "owner/name@revision, and for a private one set HF_TOKEN"
        ) from error
    return Path(found)


def _failures(hub: ModuleType) -> tuple[type[Exception], ...]:
    """What the library raises where a repository cannot be had; its connections' errors too."""
    return (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError, *_connections())


def _connections() -> tuple[type[Exception], ...]:
    found: list[Any] = []
    for name in ("httpx", "httpx2"):  # the library has changed from one to the other
        try:
            found.append(import_module(name).HTTPError)
        except ImportError:
            continue
    return tuple(found)


def _why(error: Exception) -> str:
    """The first sentence of an error, which may be a page long."""
    return str(error).strip().splitlines()[0].rstrip(".")


def _library() -> ModuleType:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise ConfigError("the hub needs huggingface_hub: pip install 'stylealae[hub]'") from error
