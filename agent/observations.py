"""How the networks see an observation: from the hand, and in units of its task's own spread.

Meta-World's positions are metres in the frame of the table, and what decides over a grasp are the
millimetres between gripper and object: a difference of two features that are large and vary a lot.

Source of the scaling: the running normalisation of SimBa (Lee et al. 2024, arXiv 2410.09754,
sec. 4.1), here with statistics of every task. The frame is ours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agent.running_moments import RunningMoments
from agent.task_major import per_sample
from configs.schema import NormalizationConfig

# A feature that (almost) never moves would be blown up when it does, so its spread is taken as this.
MIN_SPREAD = 0.02
# Scaled observations are cut here: an object thrown off the table says no more than one that left.
MAX_SPREADS = 10.0


class ObservationNormalizer(nn.Module):
    """Learns each task's scale of observations, and applies frame and scale.

    What is applied changes only when an episode ends, so that it does not jitter.

    Args:
        config: frame and scaling.
        num_tasks: T.
        obs_size: features.
    """

    frame: Tensor | None
    mean: Tensor
    spread: Tensor

    def __init__(self, config: NormalizationConfig, num_tasks: int, obs_size: int) -> None:
        super().__init__()
        self.scales = config.observation_scaling == "per_task"
        self.moments = RunningMoments(num_tasks, obs_size)
        """Of the observations acted on, in the frame that the networks see."""
        self._matrix = observation_frame(config.observation_frame, obs_size)
        matrix = None if self._matrix is None else torch.from_numpy(self._matrix)
        self.register_buffer("frame", matrix, persistent=False)  # [obs, obs] float64
        self.register_buffer("mean", torch.zeros(num_tasks, obs_size))
        self.register_buffer("spread", torch.ones(num_tasks, obs_size))

    def extra_repr(self) -> str:
        """Sizes, frame and scaling, for `print`."""
        tasks, features = self.mean.shape
        frame = "world" if self.frame is None else "relative"
        scaling = "per_task" if self.scales else "none"
        return f"tasks={tasks}, features={features}, frame={frame}, scaling={scaling}"

    def observe(self, obs: NDArray[np.float32], done: NDArray[np.bool_]) -> None:
        """Add the observations `obs [T, N, obs]` that were acted on.

        Where `done [T, N]` says that an episode ended, the scale of all tasks is taken over.
        """
        if not self.scales:
            return
        values = obs.astype(np.float64)
        self.moments.add(values if self._matrix is None else values @ self._matrix)
        if done.any():
            self.mean.copy_(torch.from_numpy(self.moments.mean))
            spread = np.maximum(self.moments.spread(), MIN_SPREAD)
            self.spread.copy_(torch.from_numpy(spread))

    def forward(self, obs: Tensor, task: Tensor | None = None) -> Tensor:
        """Raw observations `[T, n, obs]`, or `[n, obs]` with `task [n]`, as the networks see them."""
        if self.frame is not None:
            obs = (obs.double() @ self.frame.double()).to(obs.dtype)
        if not self.scales:
            return obs
        mean, spread = per_sample(self.mean, task), per_sample(self.spread, task)
        return ((obs - mean) / spread).clamp(-MAX_SPREADS, MAX_SPREADS)


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
            f"normalization.observation_frame: relative is defined on 39 features, not {obs_size}"
        )
    # 0-17: hand, gripper, object, its rotation, a second object; 18-35: the step before; 36-38: goal
    now, before = np.arange(18), np.arange(18, 36)
    hand, thing, goal = np.arange(3), np.arange(4, 7), np.arange(36, 39)
    matrix = np.eye(39)
    matrix[hand, thing] = -1  # object - hand
    matrix[thing, goal] = -1  # goal - object
    matrix[now, before], matrix[before, before] = 1, -1  # now - before
    return matrix
