#!/usr/bin/env python
"""The demo: StyleALAE on rendered faces, 4x4 to 32x32, as a Ray job with two CPU workers.

Reproduces: the whole pipeline in small.  Hardware: two CPU cores.  Time: under 10 minutes.
Expect: clean sampled faces, and reconstructions that follow pose, light, hair and glasses.

    python launch/demo.py                                     the embedded default
    python launch/demo.py input=photos.zip model.resolution=64     your own images
    python launch/demo.py --dry-run                           config and plan, starts nothing
    ray job submit --working-dir . -- python launch/demo.py key=value ...

Any key of the config can be given as key=value.  The same command again goes on where it was.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.cli import launch  # noqa: E402

FACES = 6000


def main(argv: list[str]) -> None:
    """Runs configs/demo.yaml, or configs/demo_own.yaml on `input=`, in folders named after it."""
    given = [a.removeprefix("input=") for a in argv if a.startswith("input=")]
    if not given:
        launch(
            ROOT / "configs/demo.yaml", argv, source="rendered", count=FACES, about=__doc__ or ""
        )
        return
    resolution = [
        a.removeprefix("model.resolution=") for a in argv if a.startswith("model.resolution=")
    ]
    name = "-".join([Path(given[0]).resolve().stem, *resolution])
    folders = [f"run_dir=runs/{name}", f"data.path=datasets/{name}"]
    launch(ROOT / "configs/demo_own.yaml", [*folders, *argv], about=__doc__ or "")


if __name__ == "__main__":
    main(sys.argv[1:])
