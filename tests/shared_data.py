"""Real images and larger fixtures, which lie beside the repository in ../shared and not in it."""

from pathlib import Path

import pytest

__all__ = ["FAIRFACE", "FIXTURES", "LONDON", "MNIST", "needs"]

SHARED = Path(__file__).resolve().parents[2] / "shared"
FAIRFACE = SHARED / "data" / "fairface224_1500.tar"
LONDON = SHARED / "data" / "london1024_20.tar"
MNIST = SHARED / "data" / "mnist"
FIXTURES = SHARED / "fixtures"


def needs(path: Path) -> pytest.MarkDecorator:
    """Leaves a test out where a file or folder of ../shared is not on this machine."""
    reason = f"needs ../{path.relative_to(SHARED.parent)}, which is not in the repository"
    return pytest.mark.skipif(not path.exists(), reason=reason)
