"""What runs in Ray Train's controller: a callback that reports failed groups of workers.

A group that cannot do better than the one before is never started: the callback raises, which ends
the round.
"""

from collections.abc import Mapping

import ray
from ray.train import UserCallback

from pipeline.cluster.coordinator import CoordinatorHandle

__all__ = ["FailureReporter"]


class RunFailedError(Exception):
    """The run cannot go on, for this reason."""


class FailureReporter(UserCallback):  # type: ignore[misc]
    """Reports to the coordinator how a group of workers failed."""

    def __init__(self, coordinator: CoordinatorHandle) -> None:
        self._coordinator = coordinator

    def after_exception(
        self, run_context: object, worker_exceptions: Mapping[int, Exception]
    ) -> None:
        """A worker that raised reports its error itself; one that did not was lost.

        Raises:
            RunFailedError: no other group is to be started.
        """
        lost = any(_is_rays(error) for error in worker_exceptions.values())
        if reason := ray.get(self._coordinator.group_failed.remote(lost)):
            raise RunFailedError(reason)


def _is_rays(error: Exception) -> bool:
    """Whether Ray missed a worker; what a worker raised comes as it is, or wrapped in one class."""
    kind = type(error)
    return kind.__module__.startswith("ray.") and kind.__name__ != "UserExceptionWithTraceback"
