"""What all tests share: threads, a world of one, and made-up digits for what wants classes."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.digits import write_digits

if TYPE_CHECKING:
    from pipeline.world import World

# Beside other work, two threads wait for each other at every small kernel.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The part with Ray imports no file without such a test: torch and all for nothing."""
    if not config.option.markexpr.startswith("ray") or collection_path.suffix != ".py":
        return None
    return "mark.ray" not in collection_path.read_text() or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin, so that no worker is left alone with one in the end."""
    early = {item.path for item in items if item.get_closest_marker("early")}
    items.sort(key=lambda item: item.path not in early)


def pytest_collection_finish() -> None:
    """What was loaded stays: from here on the garbage collector need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws without naming a source does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module")
def world() -> Iterator["World"]:
    """A world of one on one thread."""
    import torch

    from pipeline.config.sections import EngineConfig
    from pipeline.world import joined

    threads = torch.get_num_threads()
    yield joined(EngineConfig(threads=1), gpu=False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images to train on and 40 for tests: a class is a place of a bright square."""
    return write_digits(tmp_path_factory.mktemp("digits"))
