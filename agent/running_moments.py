"""Mean and variance of a stream, for every task on its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.arrays import require_range, restore


class RunningMoments:
    """Mean and variance of every feature of every task, over all that was added.

    Merged batch by batch (Chan, Golub & LeVeque 1983), in float64.

    Args:
        num_tasks: T.
        size: features.
    """

    def __init__(self, num_tasks: int, size: int) -> None:
        self.count = np.zeros(num_tasks)
        self.mean = np.zeros((num_tasks, size))
        self._squares = np.zeros((num_tasks, size))  # sum of (x - mean)^2

    def add(self, values: NDArray[np.float64], tasks: NDArray[np.int64] | None = None) -> None:
        """Add `values [t, n, size]`, n of each of the given tasks `[t]` (`None`: of all, in order)."""
        which = slice(None) if tasks is None else tasks
        count, mean = self.count[which, None], self.mean[which]
        new = values.shape[1]
        new_mean = values.mean(axis=1)
        difference = new_mean - mean
        total = count + new
        squares = self._squares[which] + np.square(values - new_mean[:, None]).sum(axis=1)
        self._squares[which] = squares + difference**2 * count * new / total
        self.mean[which] = mean + difference * new / total
        self.count[which] = total[:, 0]

    def spread(self) -> NDArray[np.float64]:
        """Standard deviation `[T, size]`; 1 for a task of which nothing was added."""
        known = self.count[:, None] > 0
        return np.where(known, np.sqrt(self._squares / np.maximum(self.count[:, None], 1)), 1.0)

    def state_dict(self) -> dict[str, NDArray]:
        """Everything needed to go on."""
        return {"count": self.count, "mean": self.mean, "squares": self._squares}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes or impossible numbers."""
        require_range("count", state["count"], 0, 2**53)
        # As far as float32 values and their squares can go; beyond, the next sum could overflow.
        require_range("mean", state["mean"], -(10**39), 10**39)
        require_range("squares", state["squares"], 0, 10**100)
        restore(self.state_dict(), state)
