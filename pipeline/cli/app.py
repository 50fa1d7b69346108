"""The command line: its subcommands, in the order of a project.

Heavy homes (ray, deepspeed, torch) are imported by the subcommand that needs them.
"""

import click

from pipeline.allocator import keep_freed_memory
from pipeline.cli.commands import (
    align,
    audit,
    data,
    directions,
    evaluate,
    export,
    images,
    latent,
    pages,
    record,
    runs,
    sweep,
    watch,
)

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Train StyleALAE on your own images, and use what was trained.

    \b
    stylealae prepare photos/ --out datasets/mine --resolutions 4..64
    stylealae plan configs/demo.yaml data.path=datasets/mine
    stylealae train configs/demo.yaml data.path=datasets/mine run_dir=runs/mine
    stylealae sample runs/mine/0032/snapshot --out samples.png
    """  # noqa: D301
    keep_freed_memory()


for command in (
    *(align.align, data.prepare, data.verify, data.inspect),
    *(runs.plan, runs.train, runs.import_, audit.audit),
    *(images.sample, images.reconstruct, images.encode, images.refine),
    *(latent.mix, latent.interpolate),
    *(directions.directions, directions.traverse, directions.edit),
    *(sweep.sweep, evaluate.evaluate, record.record),
    *(watch.watch, watch.compare),
    *(pages.demo, pages.report, export.export),
):
    main.add_command(command)
