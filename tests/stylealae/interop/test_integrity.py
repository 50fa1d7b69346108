"""What is said of a file that is there and cannot be read."""

from pathlib import Path

import pytest

from stylealae.errors import CheckpointError
from stylealae.interop.integrity import require_file


def test_a_file_without_permission_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is there and cannot be read"):
        require_file(weights, advice="name another")
