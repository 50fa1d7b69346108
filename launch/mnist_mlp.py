#!/usr/bin/env python
"""The family on MNIST: ALAE with MLPs, or any line of configs/mnist, as a Ray job on CPU cores.

Reproduces: the permutation-invariant MNIST model of ALAE (CVPR 2020), and, as `line=`, the figures
of Adversarial Autoencoders (arXiv 1511.05644).  Hardware: two CPU cores.  Time: minutes to half an
hour, as docs/results.md says of each line.  Expect: the figures of docs/results.md.

    python launch/mnist_mlp.py input=mnist/                        prepares, then trains ALAE
    python launch/mnist_mlp.py line=aae_semi_100 seed=1            another line, another seed
    python launch/mnist_mlp.py line=aae_2d model.prior=mixture     any key of its config
    python launch/mnist_mlp.py --dry-run                           config and plan, starts nothing

`input=` is a folder of IDX files: train and t10k, images and labels, gzipped or not.
"""

import sys

if not __package__:
    from checkout import add_to_path

    add_to_path()

from pipeline.cli.launching import launch
from pipeline.config.packaged import packaged


def main(argv: list[str]) -> None:
    """Runs the config of one line."""
    lines = [a.removeprefix("line=") for a in argv if a.startswith("line=")]
    keys = [a for a in argv if not a.startswith("line=")]
    launch(packaged(f"mnist/{(lines or ['alae_mlp'])[-1]}"), keys, about=__doc__ or "")


if __name__ == "__main__":
    main(sys.argv[1:])
