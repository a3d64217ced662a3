"""How the networks see an observation: from the hand, and in units of its task's own spread.

Meta-World's positions are metres in the frame of the table, and what decides over a grasp are the
millimetres between gripper and object: a difference of two features that are large and vary a lot.

Source of the scaling: the running normalisation of SimBa (Lee et al. 2024, arXiv 2410.09754,
sec. 4.1), here with statistics of every task. The frame is ours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from envs.arrays import require_range, restore

# A feature that (almost) never moves would be blown up when it does, so its spread is taken as this.
MIN_SPREAD = 0.02


def observation_frame(
    frame: Literal["world", "relative"], obs_size: int
) -> NDArray[np.float64] | None:
    """Matrix M `[obs, obs]` with which the networks see obs @ M; `None` for the world's frame.

    relative: the hand stays; the object is seen from the hand, the goal from the object, and the
    step before as the change since then. M is invertible: nothing is added and nothing lost. In
    float64, because a product in less (TF32, on a GPU) would round the metres it takes apart.

    Raises:
        ValueError: relative, and not Meta-World's 39 features.
    """
    if frame == "world":
        return None
    if obs_size != 39:
        raise ValueError(
            f"agent.observation_frame: relative is defined on 39 features, not {obs_size}"
        )
    # 0-17: hand, gripper, object, its rotation, a second object; 18-35: the step before; 36-38: goal
    now, before = np.arange(18), np.arange(18, 36)
    hand, thing, goal = np.arange(3), np.arange(4, 7), np.arange(36, 39)
    matrix = np.eye(39)
    matrix[hand, thing] = -1  # object - hand
    matrix[thing, goal] = -1  # goal - object
    matrix[now, before], matrix[before, before] = 1, -1  # now - before
    return matrix


class ObservationScale:
    """Running mean and variance of every feature of every task, over all observations acted on.

    Args:
        num_tasks: T.
        obs_size: features.
        frame: what the networks see is obs @ frame, `[obs, obs]`; `None` for obs itself.
    """

    def __init__(self, num_tasks: int, obs_size: int, frame: NDArray[np.float64] | None) -> None:
        self.frame = frame
        self.count = np.zeros(1)
        self.mean = np.zeros((num_tasks, obs_size))  # float64
        self._squares = np.zeros((num_tasks, obs_size))  # sum of (x - mean)^2

    def observe(self, obs: NDArray[np.float32]) -> None:
        """Add `obs [T, N, obs]` (Chan, Golub & LeVeque 1983: merging means and squares)."""
        values = obs.astype(np.float64)
        if self.frame is not None:
            values = values @ self.frame
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
        """Restore `state_dict()`; raises `ValueError` on other shapes or a negative count."""
        require_range("count", state["count"], 0, 2**53)
        restore(self.state_dict(), state)
