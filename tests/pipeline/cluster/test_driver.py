"""A driver between its rounds; no Ray is started."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.storage import open_storage
from pipeline.training.fencing import Fence, FencedError

pytest.importorskip("ray")

from pipeline.cluster import driver
from pipeline.cluster.round import Rounds


def test_a_driver_that_waits_for_room_hears_of_another_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, storage = parse("model: {resolution: 8}"), open_storage(tmp_path)
    run = Rounds(
        config="", cluster=cfg.cluster, coordinator=None, fence=Fence.claim(storage),
        stopping=threading.Event(), report=lambda update: None, say=lambda text: None, scratch="",
    )  # fmt: skip

    def no_capacity(bundle: Mapping[str, float], count: int, over: Callable[[], bool]) -> bool:
        Fence.claim(storage)  # by the other
        while not over():
            pass
        return False

    monkeypatch.setattr(driver, "FENCE_S", 0.05)
    monkeypatch.setattr(driver, "can_place", no_capacity)
    with pytest.raises(FencedError, match="taken over by another start"):
        driver._train(run, cfg, storage, cfg.stages)
