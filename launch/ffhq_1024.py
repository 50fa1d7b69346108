#!/usr/bin/env python
r"""StyleALAE on FFHQ at 1024x1024: the paper's main model.

Reproduces: ALAE (CVPR 2020), FFHQ, 60,000 training images, 18 M images shown.
Hardware: one node of 8 GPUs with 24 GB or more.  Time there: the authors needed a little over two
days to 512 and over two more to 1024 on 8 Titan RTX; not yet measured with this code.
Expect: the FID that the paper reports for this set; not yet measured with this code.

    stylealae prepare ffhq/ --out /data/ffhq --resolutions 4..1024
    ray job submit --working-dir . -- \
        python launch/ffhq_1024.py data.path=/data/ffhq run_dir=/runs/ffhq
    python launch/ffhq_1024.py --dry-run      config and plan, starts nothing
"""

import sys

if not __package__:
    from checkout import add_to_path

    add_to_path()

from pipeline.cli.launching import launch
from pipeline.config.packaged import packaged

if __name__ == "__main__":
    launch(packaged("ffhq_1024"), sys.argv[1:], about=__doc__ or "")
