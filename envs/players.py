"""What acts in the simulators' processes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Player(Protocol):
    """Chooses the actions of all environments, in every worker for those that the worker has.

    It lives in the trainer, and as a copy in every worker. What changes from chunk to chunk goes to
    the copies as plain arrays in shared memory: its weights, random numbers drawn in the trainer, and a
    memory of the running episode for every environment, zero at the start of an episode. So what is
    played depends neither on the number of workers nor on which of them were replaced.
    """

    draws_size: int
    """D, random numbers per environment and step."""
    memory_size: int
    """S, numbers remembered per environment."""

    def for_workers(self) -> bytes:
        """The pickled copy that workers start with."""

    def weights(self) -> NDArray[np.float32]:
        """All that the copies must learn of anew `[P]`."""

    def draw(self, steps: int, num_envs: int, generator: Any) -> NDArray[np.float32]:
        """Random numbers for so many vector steps `[steps, E, D]`."""

    def require_memory(self, memory: NDArray[np.float32]) -> None:
        """Raise `ValueError` if `memory [E, S]` is none that acting leaves behind."""

    def start(self) -> None:
        """Make the worker's process ready; called once, in the worker."""

    def load(self, weights: NDArray[np.float32]) -> None:
        """Take over the trainer's `weights()`; called in the worker."""

    def act(
        self,
        obs: NDArray[np.float32],
        draws: NDArray[np.float32],
        memory: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Actions in [-1, 1] `[E, 4]`; changes `memory` in place. Called in the worker.

        An environment's action must not depend on the values of other environments: a worker fills in
        those that it has, and zeros for the others.

        Args:
            obs: `[E, 39]`, task-major.
            draws: `[E, D]` of this step.
            memory: `[E, S]`.
        """
