"""A run as one typed value: its sections, and how it is read from YAML and overrides."""

from pipeline.config.run import RunConfig, as_dict, as_yaml, check_shares, load, parse

__all__ = ["RunConfig", "as_dict", "as_yaml", "check_shares", "load", "parse"]
