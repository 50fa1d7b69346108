"""For `python launch/demo.py` in a checkout that is not installed."""

import sys
from pathlib import Path

__all__ = ["add_to_path"]


def add_to_path() -> None:
    """Has Python find the packages, which lie beside `launch/`.

    It looks in a script's own folder.  `python -m launch.demo` looks in the current one, and a Ray
    job in its working directory, so neither needs this.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
