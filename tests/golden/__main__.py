"""Records the golden trajectories, or compares with them; exit code 1 if anything differs."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.sections import EngineConfig
from pipeline.world import joined
from tests.golden import __doc__ as usage
from tests.golden.cases import write_data
from tests.golden.record import GOLDEN, Golden


def main(what: str) -> int:
    """0 if all is as recorded."""
    with TemporaryDirectory() as scratch:
        world = joined(EngineConfig(threads=1), gpu=False)
        now = Golden.now(write_data(Path(scratch, "data")), Path(scratch, "runs"), world, print)
    differences = now.differences(Golden.read()) if GOLDEN.exists() else []
    print(*differences or ["all is as recorded"], sep="\n")
    if what == "record":
        now.write()
        return 0
    return bool(differences)


if __name__ == "__main__":
    if sys.argv[1:] not in (["record"], ["check"]):
        sys.exit(usage)
    sys.exit(main(sys.argv[1]))
