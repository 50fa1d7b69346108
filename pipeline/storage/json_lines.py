"""Files of a JSON object a line, which a process adds to until it ends or is killed."""

import json
from pathlib import Path
from typing import Any

__all__ = ["json_lines"]


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file; a line torn by a kill is passed over.

    Of a file that is not there, none.
    """
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
