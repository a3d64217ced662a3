"""Exploration noise that is correlated in time: the same spread, but it pushes somewhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from agent.arrays import restore


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
