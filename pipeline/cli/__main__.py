"""`python -m pipeline.cli`: the command line, also under torchrun."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
