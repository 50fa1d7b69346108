"""Runs everything on the GPU that is not there, and counts; exit code 1 if anything is wrong."""

import sys

from tests.fakegpu.device import load

load()

from tests.fakegpu.report import main  # noqa: E402 - torch has to believe first

sys.exit(main())
