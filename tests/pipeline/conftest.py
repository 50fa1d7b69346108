"""A real Chromium for the pages, where there is one."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless, with an empty profile; ended with the module, for it runs an event loop here."""
    found = next((w for n in ("chromium", "chromium-browser") if (w := shutil.which(n))), None)
    if found is None:
        pytest.skip("no chromium on this machine: the pages are not clicked through")
    api: Any = pytest.importorskip("playwright.sync_api", reason="no playwright is installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield started
        started.close()
