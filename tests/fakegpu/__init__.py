"""A CUDA device that is not there: what a GPU would refuse, wait for and be asked to compute.

`python -m tests.fakegpu` (`make fakegpu`) runs every family's iterations, the interface and the
metrics on tensors without content that claim to be on a GPU, and counts what an iteration launches.
"""
