"""Exploration: noise that is correlated in time, and actions held for a while."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from envs.arrays import require_range, restore


class ExplorationNoise:
    """Standard normal at every step, with the correlation rho from one step to the next.

    A policy's independent noise averages out over a few steps; correlated noise of the same spread
    carries the hand somewhere (Eberhard et al. 2023, *Pink Noise Is All You Need*). Here an AR(1)
    process, e' = rho e + sqrt(1 - rho^2) xi, which needs one number per action dimension.

    Args:
        shape: (T, N, action) of a vector step.
        correlation: rho in [0, 1); 0 is independent noise.
    """

    def __init__(self, shape: tuple[int, ...], correlation: float) -> None:
        self.correlation = correlation
        self._noise = torch.zeros(shape)
        self._fresh = torch.ones(shape[:2], dtype=torch.bool)  # environments at an episode's start

    def next(self, generator: Generator) -> Tensor:
        """The noise of the next step, `[T, N, action]`."""
        new = torch.randn(self._noise.shape, generator=generator)
        mixed = self.correlation * self._noise + math.sqrt(1 - self.correlation**2) * new
        self._noise.copy_(torch.where(self._fresh.unsqueeze(-1), new, mixed))
        self._fresh.zero_()
        return self._noise

    def forget(self, done: NDArray[np.bool_]) -> None:
        """Start anew where an episode has ended, `done [T, N]`."""
        self._fresh |= torch.from_numpy(done)

    def state_dict(self) -> dict[str, NDArray]:
        """Everything needed to go on, mid-episode too."""
        return {"noise": self._noise.numpy(), "fresh": self._fresh.numpy()}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes."""
        restore(self.state_dict(), state)


class HeldActions:
    """Now and then, one action dimension is held at a random value for some steps.

    The policy acts in the other dimensions meanwhile. A policy that presses a closed gripper onto an
    object never opens it by noise around its mean; with the gripper held open it slides down around
    the object, and closes when the hold ends. After temporally extended epsilon-greedy exploration
    (Dabney et al. 2020, arXiv 2006.01782), here for each dimension on its own.

    Args:
        shape: (T, N, action) of a vector step.
        rate: chance that a free dimension is held from this step on.
        longest: a hold lasts 1 to so many steps, each as likely.
    """

    def __init__(self, shape: tuple[int, ...], rate: float, longest: int) -> None:
        self.rate, self.longest = rate, longest
        self._steps_left = torch.zeros(shape, dtype=torch.int64)
        self._value = torch.zeros(shape)

    def apply(self, actions: NDArray[np.float32], generator: Generator) -> NDArray[np.float32]:
        """The actions `[T, N, action]` to take instead of the policy's; held values are in [-1, 1]."""
        if not self.rate:
            return actions
        shape = self._value.shape
        starts = (torch.rand(shape, generator=generator) < self.rate) & (self._steps_left == 0)
        steps = torch.randint(1, self.longest + 1, shape, generator=generator)
        value = 2 * torch.rand(shape, generator=generator) - 1
        self._steps_left.copy_(torch.where(starts, steps, self._steps_left))
        self._value.copy_(torch.where(starts, value, self._value))
        held = torch.where(self._steps_left > 0, self._value, torch.from_numpy(actions))
        self._steps_left.sub_(1).clamp_(min=0)
        return held.numpy()

    def forget(self, done: NDArray[np.bool_]) -> None:
        """Let go where an episode has ended, `done [T, N]`."""
        self._steps_left[torch.from_numpy(done)] = 0

    def state_dict(self) -> dict[str, NDArray]:
        """Everything needed to go on, mid-hold too."""
        return {"steps_left": self._steps_left.numpy(), "value": self._value.numpy()}

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Restore `state_dict()`; raises `ValueError` on other shapes or lengths of holds."""
        require_range("steps_left", state["steps_left"], 0, self.longest)
        require_range("value", state["value"], -1, 1)
        restore(self.state_dict(), state)
