"""What runs in Ray Train's controller: it tells the link how a group of workers ended."""

from typing import Any

import ray
from ray.train import UserCallback

__all__ = ["Tell"]


class Tell(UserCallback):  # type: ignore[misc]
    """Tells the link how a group of workers ended; runs in Ray Train's controller."""

    def __init__(self, link: Any) -> None:
        self._link = link

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """A worker that raised says so itself; one that did not was lost."""
        lost = any(_is_rays(error) for error in worker_exceptions.values())
        ray.get(self._link.ended.remote(lost))


def _is_rays(error: Exception) -> bool:
    """Whether Ray missed a worker; what a worker raised comes as it is, or wrapped in one class."""
    kind = type(error)
    return kind.__module__.startswith("ray.") and kind.__name__ != "UserExceptionWithTraceback"
