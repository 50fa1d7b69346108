"""Writing tensors to safetensors files that others may read as far as the umask lets them."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["write_tensors"]


def write_tensors(
    file: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Writes tensors by name, with the permissions that `open` would give the file.

    safetensors itself writes a temporary file of its own, which only its owner may read, and
    renames it.

    Raises:
        OSError: the file cannot be written.
    """
    file.touch()
    mode = file.stat().st_mode & 0o777
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata)
    except SafetensorError as error:  # a full disk, say
        raise OSError(f"{file}: {error}") from error
    file.chmod(mode)
