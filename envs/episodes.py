"""Returns and successes of the episodes in training, as they finish."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.arrays import restore
from envs.step import Step


class FinishedEpisode(NamedTuple):
    """One episode that ended with the last step."""

    task: int
    total_reward: float
    success: bool  # the flag was set at any step
    length: int  # environment steps


class EpisodeTracker:
    """Running sums of each environment's episode; `shape` is `(T, N)`."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._return = np.zeros(shape)
        self._success = np.zeros(shape, bool)
        self._length = np.zeros(shape, np.int64)

    def observe(self, step: Step) -> list[FinishedEpisode]:
        """Add one step; returns the episodes that it ended, less lost ones."""
        tasks = step.tasks
        self._return[tasks] += step.reward
        self._success[tasks] |= step.success
        self._length[tasks] += 1
        finished = [
            FinishedEpisode(
                int(tasks[t]),
                float(self._return[tasks[t], n]),
                bool(self._success[tasks[t], n]),
                int(self._length[tasks[t], n]),
            )
            for t, n in zip(*np.nonzero(step.done & ~step.lost), strict=True)
        ]
        t, n = np.nonzero(step.done)
        self._return[tasks[t], n] = 0
        self._success[tasks[t], n] = False
        self._length[tasks[t], n] = 0
        return finished

    def state_dict(self) -> dict[str, NDArray]:
        """The running sums."""
        return {"return": self._return, "success": self._success, "length": self._length}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes."""
        restore(self.state_dict(), state)
