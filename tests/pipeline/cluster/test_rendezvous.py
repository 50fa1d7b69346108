"""What a worker's process group is made with, where Ray would say otherwise."""

import os

import pytest

from pipeline.cluster.rendezvous import _join

HANDLING = "TORCH_NCCL_ASYNC_ERROR_HANDLING"


@pytest.mark.parametrize(
    ("backend", "given", "found"),
    [("nccl", None, "3"), ("nccl", "2", "2"), ("gloo", None, None)],
)
def test_torchs_watchdog_ends_a_process_as_it_does_without_ray(
    backend: str, given: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.train.torch import config

    before: list[str | None] = []
    monkeypatch.setenv(HANDLING, given or "")  # so that it is put back
    if given is None:
        monkeypatch.delenv(HANDLING)
    monkeypatch.setattr(config, "_set_torch_distributed_env_vars", lambda: None)
    monkeypatch.setattr(
        config, "_setup_torch_process_group", lambda *_: before.append(os.environ.get(HANDLING))
    )
    _join(backend, 0, 1, "env://", {})
    assert before == [found]
