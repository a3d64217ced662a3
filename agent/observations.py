"""Per-task observation scaling: each feature in units of its own spread within its task.

Source: the running normalisation of SimBa (Lee et al. 2024, arXiv 2410.09754, sec. 4.1), here with
statistics of every task. Meta-World's positions are metres: without it, the centimetres between
gripper and object are a few per cent of what the first layer sees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agent.arrays import restore

# A feature that (almost) never moves would be blown up when it does, so its spread is taken as this.
MIN_SPREAD = 0.02


class ObservationScale:
    """Running mean and variance of every feature of every task, over all observations acted on.

    Args:
        num_tasks: T.
        obs_size: features.
    """

    def __init__(self, num_tasks: int, obs_size: int) -> None:
        self.count = np.zeros(1)
        self.mean = np.zeros((num_tasks, obs_size))  # float64
        self._squares = np.zeros((num_tasks, obs_size))  # sum of (x - mean)^2

    def observe(self, obs: NDArray[np.float32]) -> None:
        """Add `obs [T, N, obs]` (Chan, Golub & LeVeque 1983: merging means and squares)."""
        values = obs.astype(np.float64)
        new = values.shape[1]
        mean = values.mean(axis=1)
        difference = mean - self.mean
        total = self.count + new
        self._squares += np.square(values - mean[:, None]).sum(axis=1)
        self._squares += difference**2 * self.count * new / total
        self.mean += difference * new / total
        self.count[:] = total

    def spread(self) -> NDArray[np.float64]:
        """Standard deviation `[T, obs]`, at least `MIN_SPREAD`; 1 before any observation."""
        if not self.count[0]:
            return np.ones_like(self.mean)
        return np.maximum(np.sqrt(self._squares / self.count), MIN_SPREAD)

    def state_dict(self) -> dict[str, NDArray]:
        """Everything needed to go on."""
        return {"count": self.count, "mean": self.mean, "squares": self._squares}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes."""
        restore(self.state_dict(), state)
