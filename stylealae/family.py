"""The families where they were until they became folders: use `stylealae.families`."""

from stylealae.capabilities import Model
from stylealae.families import FAMILIES, load
from stylealae.families.family import Family

__all__ = ["FAMILIES", "Family", "Model", "load"]
