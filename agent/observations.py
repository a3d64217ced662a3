"""How the networks see an observation: from the hand, and in units of its task's own spread.

Meta-World's positions are metres in the frame of the table, and what decides over a grasp are the
millimetres between gripper and object: a difference of two features that are large and vary a lot.

Source of the scaling: the running normalisation of SimBa (Lee et al. 2024, arXiv 2410.09754,
sec. 4.1), here with statistics of every task. The frame is ours.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agent.running_moments import RunningMoments
from agent.task_major import per_sample
from configs.schema import NormalizationConfig
from envs import OBS_SIZE

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

    Raises:
        ValueError: the frame is relative, and there are not Meta-World's 39 features.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: NormalizationConfig, num_tasks: int, obs_size: int) -> None:
        super().__init__()
        self.relative = config.observation_frame == "relative"
        if self.relative and obs_size != OBS_SIZE:
            raise ValueError(
                f"normalization.observation_frame: relative is defined on {OBS_SIZE} features, "
                f"not {obs_size}"
            )
        self.scales = config.observation_scaling == "per_task"
        self.moments = RunningMoments(num_tasks, obs_size)
        """Of the observations acted on, in the frame that the networks see."""
        self.register_buffer("mean", torch.zeros(num_tasks, obs_size))
        self.register_buffer("spread", torch.ones(num_tasks, obs_size))

    def extra_repr(self) -> str:
        """Sizes, frame and scaling, for `print`."""
        tasks, features = self.mean.shape
        frame = "relative" if self.relative else "world"
        scaling = "per_task" if self.scales else "none"
        return f"tasks={tasks}, features={features}, frame={frame}, scaling={scaling}"

    def observe(
        self,
        obs: NDArray[np.float32],
        done: NDArray[np.bool_],
        tasks: NDArray[np.int64] | None = None,
    ) -> None:
        """Add the observations `obs [t, N, obs]` that were acted on in `tasks [t]`, or in all.

        Where `done [t, N]` says that an episode ended, the scale of all tasks is taken over.
        """
        if not self.scales:
            return
        values = torch.from_numpy(obs.astype(np.float64))
        self.moments.add((relative(values) if self.relative else values).numpy(), tasks)
        if done.any():
            self.mean.copy_(torch.from_numpy(self.moments.mean))
            spread = np.maximum(self.moments.spread(), MIN_SPREAD)
            self.spread.copy_(torch.from_numpy(spread))

    def forward(self, obs: Tensor, task: Tensor | None = None) -> Tensor:
        """Raw observations as the networks see them; layouts as those of a `Batch`."""
        if self.relative:
            obs = relative(obs)
        if not self.scales:
            return obs
        mean, spread = per_sample(self.mean, task), per_sample(self.spread, task)
        return ((obs - mean) / spread).clamp(-MAX_SPREADS, MAX_SPREADS)


def relative(obs: Tensor) -> Tensor:
    """Meta-World's observations `[..., 39]` seen from the hand, in the same places.

    The hand stays; the object is seen from the hand, the goal from the object, and the step before as
    the change since then. Nothing is added and nothing lost. As differences, each is rounded once; a
    product with a matrix might round the metres that it takes apart (TF32, on a GPU).
    """
    now, before, goal = obs.split((18, 18, 3), dim=-1)  # the first is hand to second object
    hand, gripper, thing, rest = now.split((3, 1, 3, 11), dim=-1)
    return torch.cat([hand, gripper, thing - hand, rest, now - before, goal - thing], dim=-1)
