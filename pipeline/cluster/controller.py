"""What runs in Ray Train's controller: its scaling, and callbacks that report to the coordinator.

A group that cannot do better than the one before is never started: the callback raises, which ends
the round.
"""

from collections.abc import Mapping

import ray
from ray.train import UserCallback
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup

from pipeline.cluster.coordinator import CoordinatorHandle

__all__ = ["FailureReporter", "FixedScaling", "GroupReporter"]


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


class FixedScaling(FixedScalingPolicy):  # type: ignore[misc]
    """As many workers as the driver could reserve; nobody is asked for it once more.

    Ray Train's own asks an actor, in which the controller waits for Ray Data to be loaded.
    """

    def after_controller_start(self, train_run_context: object) -> None:
        """Requests nothing of an autoscaler."""

    def _maybe_send_resource_request(self) -> None:
        pass


class GroupReporter(WorkerGroupCallback):  # type: ignore[misc]
    """Reports that a group begins, and what is reserved for it.

    Its workers are known by that; the driver gives it back if the controller cannot.
    """

    def __init__(self, coordinator: CoordinatorHandle) -> None:
        self._coordinator = coordinator

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        """Before the group trains."""
        reservation = worker_group.get_worker_group_state().placement_group_handle.placement_group
        ray.get(self._coordinator.begin_group.remote(reservation))


def _is_rays(error: Exception) -> bool:
    """Whether Ray missed a worker; what a worker raised comes as it is, or wrapped in one class."""
    kind = type(error)
    return kind.__module__.startswith("ray.") and kind.__name__ != "UserExceptionWithTraceback"
