"""Rendered faces, the embedded data set: portraits drawn from numbers."""
