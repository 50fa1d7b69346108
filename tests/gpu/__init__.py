"""The first ten minutes on a GPU: `python -m tests.gpu`, on one GPU, without Ray or a network.

Ten parts, each in a process of its own with a limit of time.  What they find is printed as it is
found, as a table in the end, and lies in build/gpu.json.  Without a GPU the same parts run small on
the CPU, those about the card itself on the device of `tests.fakegpu`; their numbers mean nothing.
"""
