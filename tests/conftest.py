"""One thread a test process: beside other work, two wait for each other at every small kernel."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
