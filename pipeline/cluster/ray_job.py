"""Whether this process belongs to `ray job submit`; found without importing ray, which is heavy."""

import os

__all__ = ["in_job"]


def in_job() -> bool:
    """Whether this driver was started by `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
