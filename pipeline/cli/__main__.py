"""`python -m pipeline.cli` and `stylealae`: the command line, also under torchrun."""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; Ctrl-C while it is still being loaded is a sentence, too."""
    try:
        from pipeline.cli.app import main as commands

        commands()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: nothing was begun\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
