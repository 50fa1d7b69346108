"""The command line: its subcommands, in the order of a project.

Heavy libraries (ray, deepspeed, torch) are imported by the subcommand that needs them.
"""

import os
from importlib.metadata import PackageNotFoundError, version

import click

from pipeline.cli.commands import (
    align,
    audit,
    data,
    directions,
    edit,
    evaluate,
    export,
    images,
    latent,
    pages,
    prior,
    record,
    refine,
    runs,
    sweep,
    watch,
)
from pipeline.cli.errors import lacking, show_error
from pipeline.process import keep_freed_memory, share_cores
from stylealae.errors import ConfigError, UserError

__all__ = ["main"]


def _version() -> str:
    """The installed package's; a checkout that is run without being installed has none."""
    try:
        return version("stylealae")
    except PackageNotFoundError:
        return "of this checkout, not installed"


EARLIER = {"demo": "studio"}
"""Names that commands had before."""


class Commands(click.Group):
    """The subcommands; what is wrong with a command's words is a sentence too."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A subcommand, also by an earlier name."""
        return super().get_command(ctx, EARLIER.get(cmd_name, cmd_name))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:  # fmt: skip
        """Parses the words before a subcommand."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            _show_usage(error)
            raise click.exceptions.Exit(2) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that is named; `help` and `version` are options."""
        if args[:1] in (["help"], ["version"]):
            ctx.fail(f"There is no command '{args[0]}': type `stylealae --{args[0]}`")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Parses and runs a subcommand."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            show_error(error)
            ctx.exit(1)
        except ModuleNotFoundError as error:
            if not (sentence := lacking(error)):
                raise
            show_error(sentence)
            ctx.exit(1)
        except click.UsageError as error:
            _show_usage(error)
            ctx.exit(2)


def _show_usage(error: click.UsageError) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    command = error.ctx.command_path if error.ctx else "stylealae"
    show_error(f"{error.format_message()}\nsee `{command} --help`")


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(_version(), prog_name="stylealae")
@click.pass_context
def main(context: click.Context) -> None:
    """Train StyleALAE on your own images, and use what was trained.

    \b
    stylealae prepare photos/ --out datasets/mine --resolutions 4..64
    stylealae plan configs/demo.yaml data.path=datasets/mine
    stylealae train configs/demo.yaml data.path=datasets/mine run_dir=runs/mine
    stylealae sample runs/mine/0032/snapshot --out samples.png
    """  # noqa: D301
    _require_current_folder()
    keep_freed_memory()
    share_cores(training=context.invoked_subcommand == "train")


def _require_current_folder() -> None:
    """Refuses to begin in a folder that is gone, where libraries fail without saying why."""
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the current folder cannot be read ({error.strerror}), it was removed or renamed: go "
            "to one that exists (cd) and give the command again"
        ) from error


for command in (
    *(align.align, data.prepare, data.verify, data.inspect),
    *(runs.plan, runs.train, runs.import_, audit.audit),
    *(images.sample, images.reconstruct, images.encode, refine.refine),
    *(latent.mix, latent.interpolate),
    *(directions.directions, edit.traverse, edit.edit, prior.fit_prior),
    *(sweep.sweep, evaluate.evaluate, record.record),
    *(watch.watch, watch.compare),
    *(pages.studio, pages.report, export.export),
):
    main.add_command(command)
