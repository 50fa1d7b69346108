#!/usr/bin/env python
"""The demo: StyleALAE on rendered faces, 4x4 to 32x32, as a Ray job with two CPU workers.

Reproduces: the whole pipeline in small.  Hardware: two CPU cores.  Time: under 10 minutes.
Expect: clean sampled faces, and reconstructions that follow pose, light, hair and glasses.

    python launch/demo.py                                          the embedded default
    python launch/demo.py input=photos.zip model.resolution=64     your own images
    python launch/demo.py faces=500 run_dir=runs/few               fewer rendered faces
    python launch/demo.py --dry-run                                config and plan, starts nothing
    ray job submit --working-dir . -- python launch/demo.py key=value ...

Any key of the config can be given as key=value.  The same command again goes on where it was.
"""

import sys
from hashlib import sha256
from pathlib import Path

if not __package__:
    from checkout import add_to_path

    add_to_path()

from pipeline.cli.launching import launch
from pipeline.config.packaged import packaged

FACES = 6000


def main(argv: list[str]) -> None:
    """Runs configs/demo.yaml, or configs/demo_own.yaml on `input=`, in folders named after it."""
    about, given = __doc__ or "", dict(a.split("=", 1) for a in argv if "=" in a)
    if "input" in given:
        name = f"{folder_name(given['input'])}-{given.get('model.resolution', '64')}"
        folders = [f"run_dir=runs/{name}", f"data.path=datasets/{name}"]
        launch(packaged("demo_own"), [*folders, *argv], about=about)
        return
    keys = [a for a in argv if not a.startswith("faces=")]
    faces = given.get("faces", str(FACES))
    launch(packaged("demo"), keys, source="rendered", faces=faces, about=about)


def folder_name(input_: str) -> str:
    """What the folders of an input are called: its own name, and where it lies if that is not here.

    `photos.zip` is photos, `a/photos.zip` a-photos; elsewhere a hash of the path tells two apart.
    """
    path, here = Path(input_).expanduser().resolve(), Path.cwd()
    if path.is_relative_to(here) and path != here:
        return "-".join(path.relative_to(here).with_suffix("").parts)
    return f"{path.stem}-{sha256(str(path).encode()).hexdigest()[:4]}"


if __name__ == "__main__":
    main(sys.argv[1:])
