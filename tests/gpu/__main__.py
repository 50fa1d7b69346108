"""Runs the parts one after the other; exit code 1 if anything is wrong."""

import sys

from tests.gpu.runner import main

sys.exit(main())
