#!/usr/bin/env python
"""The demo: StyleALAE on rendered faces, 4x4 to 32x32, as a Ray job on two CPU cores.

Reproduces: the whole pipeline in small.  Hardware: two CPU cores.  Time: 7 to 12 minutes.
Expect: reconstructions that follow hair, skin, clothes, light and backdrop; samples are rougher.

    python launch/demo.py                                          the embedded default
    python launch/demo.py input=photos.zip model.resolution=64     your own images
    python launch/demo.py input=photos.zip from=runs/demo          the same, from weights that exist
    python launch/demo.py faces=500 run_dir=runs/few               fewer rendered faces
    python launch/demo.py --dry-run                                config and plan, starts nothing
    ray job submit --working-dir . -- python launch/demo.py key=value ...

Any key of the config can be given as key=value.  The same command again goes on where it was.
"""

import re
import sys
from hashlib import sha256
from pathlib import Path

if not __package__:
    from checkout import add_to_path

    add_to_path()

from pipeline.cli.errors import reports_errors
from pipeline.cli.launching import launch
from pipeline.config.packaged import packaged

FACES = 6000
OURS = ("faces=", "from=")
"""Words that are no keys of the config."""
PLACES = re.compile(r"snapshot|\d+|seen-\d+")
"""What folders are called in a run."""


def main(argv: list[str]) -> None:
    """Runs configs/demo.yaml, or configs/demo_own.yaml on `input=`, in folders named after it."""
    about, given = __doc__ or "", dict(a.split("=", 1) for a in argv if "=" in a)
    keys = [a for a in argv if not a.startswith(OURS)]
    if "input" in given:
        side = given.get("model.resolution", "64")
        name = f"{folder_name(given['input'])}-{side}"
        folders = [f"run_dir=runs/{name}", f"data.path=datasets/{name}"]
        added = from_weights(given["from"], side, name) if "from" in given else []
        launch(packaged("demo_own"), [*folders, *added, *keys], about=about)
        return
    side = given.get("model.resolution", "32")
    added = from_weights(given["from"], side, "demo") if "from" in given else []
    faces = given.get("faces", str(FACES))
    launch(packaged("demo"), [*added, *keys], source="rendered", faces=faces, about=about)


@reports_errors
def from_weights(path: str, side: str, name: str) -> list[str]:
    """The overrides that `from=` stands for: its weights, their widths, a run folder of its own.

    Args:
        path: a snapshot, a run, a checkpoint, the URL of one, hf://owner/name, a .pth file of the
            authors, or the name of a model that comes with the package.
        side: model.resolution.
        name: what the run is called without the weights.
    """
    from pipeline.training.initialization import shape_overrides
    from pipeline.training.model_folder import url_of
    from pipeline.training.weight_sources import opened

    source = opened(path)
    weights = url_of(path) or source.path.resolve()
    shape = shape_overrides(source, int(side)) if side.isdecimal() else {}
    named = next(part for part in Path(weights).parts[::-1] if not PLACES.fullmatch(part))
    keys = {"init.from": weights, "run_dir": f"runs/{name}-from-{Path(named).stem}", **shape}
    return [f"{key}={value}" for key, value in keys.items()]


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
