"""Measurements, as ratios of contenders that take turns: `make bench`, JSON out, no assertion."""
