"""The Hugging Face hub: models and images by `owner/name`, never code and never a pickle.

The library's own environment holds: HF_TOKEN, HF_HOME (its cache), HF_HUB_OFFLINE=1 (the cache
alone) and HF_ENDPOINT (another hub).  Tested against a hub on loopback, untried against the real
one.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self

from stylealae.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    UnreachableError,
    UserError,
)
from stylealae.interop.pretrained import pretrained

if TYPE_CHECKING:
    import torch

__all__ = ["SCHEME", "HubDataset", "HubFile", "OnHub", "dataset", "dataset_address"]
__all__ += ["dataset_commit", "model", "push", "repository"]

SCHEME = "hf://"
ANSWER_S = 30
"""The hub may take so long to answer before it is asked again."""
SNAPSHOT = ["config.json", "model.safetensors", "directions.json", "directions.safetensors"]
"""What is fetched of a model: nothing else is read, whatever else its repository holds."""


class OnHub:
    """A model with `load` and `save` that can come from the hub, and go there."""

    if TYPE_CHECKING:

        @classmethod
        def load(cls, path: str | Path, device: "str | torch.device" = "cpu") -> Self:
            """The model of a snapshot folder."""

        def save(self, folder: Path, *, origin: str = "") -> None:
            """Writes weights, config and model card into an existing folder."""

    @classmethod
    def from_pretrained(cls, name: str, device: "str | torch.device" = "cpu") -> Self:
        """The model of a repository: `owner/name`, or `owner/name@revision` for good.

        A branch moves; a commit's hash is the same weights tomorrow.  `rendered_64` comes with the
        package.

        Raises:
            CheckpointError: there is none, it cannot be reached, or it is no snapshot.
            ConfigError: huggingface_hub is not installed.
        """
        return cls.load(model(name), device)

    def push_to_hub(self, name: str, *, private: bool = False, origin: str = "") -> str:
        """Uploads weights, config and card to `owner/name`, made if there is none.  -> its commit

        `origin` is the card's sentence on where the weights are from; default: as recorded.

        Raises:
            CheckpointError: the hub refuses it.
        """
        with TemporaryDirectory() as folder:
            self.save(Path(folder), origin=origin)
            return push(Path(folder), name, private=private)


def model(name: str) -> Path:
    """A folder with the snapshot `owner/name[@revision]`, from the cache if it is there.

    A name without an owner is that of a model that comes with the package.
    """
    return pretrained(name) or _fetched(name, "model", SNAPSHOT, CheckpointError)


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a commit."""

    name: str
    """Its path in the repository."""
    size: int
    digest: str
    """Hash of its content, as the hub keeps it; of what only the cache knows, its name there."""
    url: str
    local: Path | None
    """Where the hub's cache on this machine has it."""

    def open(self) -> io.BufferedIOBase | io.RawIOBase:
        """The file on this machine, or its bytes by ranges, as they are asked for."""
        return self.local.open("rb") if self.local else _Ranges(self)


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """A data set at one commit."""

    pinned: str
    """`hf://datasets/owner/name[/folder]@commit`."""
    folder: str
    """The one that was asked for; empty for all."""
    files: tuple[HubFile, ...]
    """Those in that folder and below it."""


def repository(name: str) -> tuple[str, str, str]:
    """`hf://datasets/owner/name/folder@revision` -> owner/name, the folder and the revision.

    Empty where one is not given.
    """
    path, _, revision = name.removeprefix(SCHEME).removeprefix("datasets/").partition("@")
    parts = path.rstrip("/").split("/")
    return "/".join(parts[:2]), "/".join(parts[2:]), revision


def dataset_address(repo: str, folder: str, revision: str) -> str:
    """What `repository` takes apart."""
    return f"{SCHEME}datasets/{'/'.join(filter(None, (repo, folder)))}@{revision}"


def dataset(name: str) -> HubDataset:
    """The files of `owner/name[/folder][@revision]`, at the commit that this is now.

    None is fetched.

    With HF_HUB_OFFLINE those that the cache holds.

    Raises:
        DataError: it cannot be had.
    """
    hub, (repo, folder, revision) = _library(), repository(name)
    if _library("constants").HF_HUB_OFFLINE:
        cached = _fetched("@".join(filter(None, (repo, revision))), "dataset", ["*.parquet"],
                          DataError)  # fmt: skip
        there = [file for file in sorted((cached / folder).rglob("*")) if file.is_file()]
        files = tuple(
            HubFile(
                name=file.relative_to(cached).as_posix(), size=file.stat().st_size,
                digest=file.resolve().name, url="", local=file,
            )
            for file in there
        )  # fmt: skip
        pinned = dataset_address(repo, folder, cached.name)
        return HubDataset(pinned=pinned, folder=folder, files=files)
    commit = dataset_commit(name)
    try:
        found = [
            entry
            for entry in hub.HfApi().list_repo_tree(
                repo, repo_type="dataset", revision=commit, recursive=True
            )
            if isinstance(entry, _library("hf_api").RepoFile)
            and (not folder or entry.path.startswith(f"{folder}/"))
        ]
    except _failures(hub) as error:
        raise _refused(name, "dataset", error, DataError) from error
    at = {"repo_type": "dataset", "revision": commit}
    files = tuple(
        HubFile(
            name=entry.path, size=entry.size,
            digest=entry.lfs.sha256 if entry.lfs else entry.blob_id,
            url=hub.hf_hub_url(repo, entry.path, **at),
            local=_in_cache(hub, repo, entry.path, at),
        )
        for entry in found
    )  # fmt: skip
    return HubDataset(pinned=dataset_address(repo, folder, commit), folder=folder, files=files)


def dataset_commit(name: str) -> str:
    """The commit that `owner/name[@revision]` is now.

    Raises:
        DataError: the hub cannot be asked, or there is none.
    """
    hub, (repo, _, revision) = _library(), repository(name)
    try:
        return str(hub.HfApi().dataset_info(repo, revision=revision or None).sha)
    except _failures(hub) as error:
        raise _refused(name, "dataset", error, DataError) from error


def _in_cache(hub: ModuleType, repo: str, file: str, at: Mapping[str, str]) -> Path | None:
    found = hub.try_to_load_from_cache(repo, file, **at)
    return Path(found) if isinstance(found, str) else None


class _Ranges(io.RawIOBase):
    """A file of the hub: what is read is asked for, and nothing else."""

    def __init__(self, file: HubFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}
        self._at = begins[whence] + offset
        return self._at

    def readinto(self, into: Any) -> int:
        wanted = memoryview(into).cast("B")
        stop = min(self._at + len(wanted), self._file.size)
        if stop <= self._at:
            return 0
        utils = _library("utils")
        head = {**utils.build_hf_headers(), "range": f"bytes={self._at}-{stop - 1}"}
        try:
            answer = utils.http_backoff("GET", self._file.url, headers=head, timeout=ANSWER_S)
            utils.hf_raise_for_status(answer)
        except _failures(_library()) as error:
            raise UnreachableError(
                f"{self._file.name} can no longer be read from the hub ({_why(error)}): see to the "
                "network, and to HF_TOKEN for a private data set, then run the same command again"
            ) from error
        data = answer.content
        if len(data) != stop - self._at:
            raise UnreachableError(
                f"the hub gave {len(data):,} bytes of {self._file.name} for {stop - self._at:,}: "
                "run the same command again"
            )
        wanted[: len(data)] = data
        self._at = stop
        return len(data)


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
        raise _refused(name, kind, error, refusal) from error
    return Path(found)


def _refused(name: str, kind: str, error: Exception, refusal: type[UserError]) -> UserError:
    return refusal(
        f"the {kind} {name} cannot be had from the hub ({_why(error)}): write owner/name or "
        "owner/name@revision, and for a private one set HF_TOKEN"
    )


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
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _library(part: str = "") -> ModuleType:
    """The library, or a module of it."""
    try:
        return import_module(f"huggingface_hub.{part}" if part else "huggingface_hub")
    except ImportError as error:
        raise ConfigError("the hub needs huggingface_hub: pip install 'stylealae[hub]'") from error
