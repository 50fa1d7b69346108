#!/usr/bin/env python
r"""StyleALAE on CelebA-HQ at 256x256: the paper's second face model.

Reproduces: ALAE (CVPR 2020), CelebA-HQ at 256x256, 29,000 training images, 30 passes a stage.
Hardware: one node of 8 GPUs with 24 GB or more.  Time there: not yet measured with this code.
Expect: the FID that the paper reports for this set; not yet measured with this code.

    stylealae prepare celebahq/ --out /data/celebahq --resolutions 4..256
    ray job submit --working-dir . -- \
        python launch/celebahq_256.py data.path=/data/celebahq run_dir=/runs/celebahq
    python launch/celebahq_256.py --dry-run      config and plan, starts nothing
"""

import sys

if not __package__:
    from checkout import add_to_path

    add_to_path()

from pipeline.cli.launching import launch
from pipeline.config.packaged import packaged

if __name__ == "__main__":
    launch(packaged("celebahq_256"), sys.argv[1:], about=__doc__ or "")
