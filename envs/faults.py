"""What can be wrong with one step of an environment: names, numbers, and the warning."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)

FAULTS = (
    "none",
    "the observation is not finite",
    "the reward is not finite",
    "MuJoCo found the simulation unstable and reset it",
    "Meta-World reported an unstable state",
    "Meta-World raised an exception",
    "its worker process failed twice",
)
"""By the number in the shared arrays."""

OBSERVATION, REWARD, MUJOCO, METAWORLD, RAISED, WORKER_LOST = range(1, len(FAULTS))


class FaultLog:
    """Warns of a fault the first time that it happens in a task.

    Args:
        then: what becomes of such a step or episode.
    """

    def __init__(self, then: str) -> None:
        self._then = then
        self._said: set[tuple[str, int]] = set()

    def warn(self, task: str, environment: str, fault: int) -> None:
        """Of one step.

        Args:
            task: its name.
            environment: which of the task's it was, in words.
            fault: an index of `FAULTS`.
        """
        if (task, fault) not in self._said:
            self._said.add((task, fault))
            _log.warning("%s: %s; %s (said once)", environment, FAULTS[fault], self._then)
