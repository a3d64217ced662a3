"""The unit of each task's rewards: the returns that the task shows set it.

Source: BRC (Nauman et al. 2025, arXiv 2505.23150), which divides rewards by the task's largest return
when they are sampled, so that stored rewards never go stale. BRC adds the entropy bonus to the
largest return. Here it is left out: at our temperatures, with three steps, it is 0.2 to 6 % of it (a look at some runs).

Ours: the unit is at most twice the usual return. A single lucky success has thirty times the return
of all that the agent can do yet; in that unit, the reward for coming closer to the object would be
smaller than a bin of the critic. Values above the upper end of the value range are clamped until
success is usual. And the largest value lies some bins below that end: critics that clamp it there cannot
tell a hand at the goal from one that is a little short of it.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agent.task_major import per_sample
from configs.schema import Config
from envs.arrays import require_range, restore

# The largest return as a share of the value range's upper end. Above it there is room for the errors of
# targets and for the width of HL-Gauss's smoothing: three bins of `mt10`, four standard deviations.
_HIGHEST_SHARE = 0.93
# Share of the newest episode in the usual return: a memory of some 50 episodes.
_NEWEST_SHARE = 0.02


class RewardNormalizer(nn.Module):
    """Learns each task's unit of reward from its episodes, and applies it.

    Args:
        config: copies and horizon of the environments, discount, value range, scaling.
    """

    scale: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.scales = config.normalization.reward_scaling == "per_task_return"
        self.highest_value = _HIGHEST_SHARE * config.agent.value_range[1]
        tasks, env = len(config.env.task_names), config.env
        self.returns = EpisodeReturns(
            tasks, env.copies_per_task, env.horizon, config.agent.discount
        )
        """Of the episodes in training."""
        self.register_buffer("scale", torch.ones(tasks))

    def extra_repr(self) -> str:
        """Sizes and scaling, for `print`."""
        scaling = "per_task_return" if self.scales else "none"
        return f"tasks={len(self.scale)}, scaling={scaling}"

    def observe(
        self,
        reward: NDArray[np.float32],
        done: NDArray[np.bool_],
        lost: NDArray[np.bool_],
        tasks: NDArray[np.int64] | None = None,
    ) -> None:
        """Add one step `[t, N]` of `tasks [t]`, or of all.

        Episodes that end with it change the unit, `lost` ones do not.
        """
        self.returns.observe(reward, done & ~lost, tasks)
        self.returns.forget(lost, tasks)
        if self.scales and done.any():
            self.scale.copy_(torch.from_numpy(self.returns.reward_scale(self.highest_value)))

    def forward(self, reward: Tensor, task: Tensor | None = None) -> Tensor:
        """Raw rewards as the critics see them; layouts as those of a `Batch`."""
        return reward * per_sample(self.scale, task)


class EpisodeReturns:
    """Tracks the largest and the usual discounted return of each task over finished episodes.

    An episode's return is the largest of its steps' returns, by size; the usual one is the running
    mean of that.

    The critic bootstraps through time limits, so an episode's returns are continued past its last
    step as if its last reward went on for ever: G_h = r_h / (1 - gamma). A solved Meta-World task
    (reward 10 a step) then has return 10 / (1 - gamma) at any horizon.

    Args:
        num_tasks: T.
        copies: N environments per task.
        horizon: longest episode [environment steps].
        discount: gamma.
    """

    def __init__(self, num_tasks: int, copies: int, horizon: int, discount: float) -> None:
        self.discount = discount
        self.largest = np.zeros(num_tasks)  # [T] float64
        self.usual = np.zeros(num_tasks)  # [T] float64
        self._rewards = np.zeros((num_tasks, copies, horizon), np.float32)
        self._length = np.zeros((num_tasks, copies), np.int64)

    def observe(
        self,
        reward: NDArray[np.float32],
        done: NDArray[np.bool_],
        tasks: NDArray[np.int64] | None = None,
    ) -> None:
        """Add one step of `tasks [t]`, or of all: `reward [t, N]`, `done [t, N]` at an episode's end."""
        tasks = np.arange(len(self.usual)) if tasks is None else tasks
        task, copy = tasks[:, None], np.arange(reward.shape[1])
        self._rewards[task, copy, self._length[tasks]] = reward
        self._length[tasks] += 1
        for row, n in zip(*np.nonzero(done), strict=True):
            t = tasks[row]
            rewards = self._rewards[t, n, : self._length[t, n]]
            newest = np.abs(discounted_returns(rewards, self.discount)).max()
            self.largest[t] = max(self.largest[t], newest)
            share = _NEWEST_SHARE if self.usual[t] > 0 else 1.0
            self.usual[t] += share * (newest - self.usual[t])
        self.forget(done, tasks)

    def forget(self, lost: NDArray[np.bool_], tasks: NDArray[np.int64] | None = None) -> None:
        """Drop the running episodes of `tasks [t]`, or of all, where `lost [t, N]`."""
        tasks = np.arange(len(self.usual)) if tasks is None else tasks
        row, n = np.nonzero(lost)
        self._length[tasks[row], n] = 0

    def reward_scale(self, highest_value: float) -> NDArray[np.float32]:
        """Factor `[T]`, 1 before any episode.

        It maps the largest return, or twice the usual one, to `highest_value`.
        """
        known = self.largest > 0
        unit = np.where(known, np.minimum(self.largest, 2 * self.usual), 1)
        return np.where(known, highest_value / unit, 1).astype(np.float32)

    def state_dict(self) -> dict[str, NDArray]:
        """Everything needed to go on, mid-episode too."""
        return {
            "largest": self.largest,
            "usual": self.usual,
            "rewards": self._rewards,
            "length": self._length,
        }

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes or lengths."""
        require_range("length", state["length"], 0, self._rewards.shape[-1] - 1)
        restore(self.state_dict(), state)


def discounted_returns(rewards: NDArray[np.float32], discount: float) -> NDArray[np.float64]:
    """G_k = r_k + gamma G_{k+1} for each step `[h]`, with the last reward continued for ever."""
    tail = float(rewards[-1]) / (1 - discount)
    backwards = [tail, *rewards[-2::-1].tolist()]
    return np.array(list(accumulate(backwards, lambda later, now: now + discount * later)))[::-1]
