"""A run as one typed value: its sections, and how it is read from YAML and overrides."""

from pipeline.config.loading import load, parse
from pipeline.config.plain import as_dict, as_yaml
from pipeline.config.run import RunConfig
from pipeline.config.saved import read_saved, without_retired

__all__ = ["RunConfig", "as_dict", "as_yaml", "load", "parse", "read_saved", "without_retired"]
