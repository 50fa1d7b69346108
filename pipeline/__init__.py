"""The machinery: how the method meets data, GPUs and a cluster."""
