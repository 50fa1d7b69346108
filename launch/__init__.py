"""One script a published run: `python launch/demo.py`, or `python -m launch.demo`."""
