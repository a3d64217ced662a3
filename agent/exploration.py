"""Exploration: noise that is correlated in time, and actions held for a while.

Both are functions of random numbers that were drawn before, and of a memory of the running episode
that is zero at its start: they act in the simulators' processes (`agent/player.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

Shape = tuple[int, ...]


class ExplorationNoise:
    """Standard normal at every step, with the correlation rho from one step to the next.

    A policy's independent noise averages out over a few steps; correlated noise of the same spread
    carries the hand somewhere (Eberhard et al. 2023, *Pink Noise Is All You Need*). Here an AR(1)
    process, e' = rho e + sqrt(1 - rho^2) xi, which needs one number per action dimension.

    Args:
        action_size: A.
        correlation: rho in [0, 1); 0 is independent noise.
    """

    def __init__(self, action_size: int, correlation: float) -> None:
        self.correlation = correlation
        self.draws_size = action_size
        self.memory_size = action_size + 1  # e, and 1 once there was a step

    def draw(self, shape: Shape, generator: Generator) -> Tensor:
        """The xi of one step, `[*shape, A]`."""
        return torch.randn((*shape, self.draws_size), generator=generator)

    def next(self, draws: Tensor, memory: Tensor) -> Tensor:
        """The noise of the next step, `[..., A]`.

        Args:
            draws: `[..., A]`.
            memory: `[..., A + 1]`, changed in place.
        """
        before, started = memory[..., :-1], memory[..., -1:] > 0
        mixed = self.correlation * before + math.sqrt(1 - self.correlation**2) * draws
        noise = torch.where(started, mixed, draws)
        memory[..., :-1], memory[..., -1] = noise, 1
        return noise


class HeldActions:
    """Now and then, one action dimension is held at a random value for some steps.

    The policy acts in the other dimensions meanwhile. A policy that presses a closed gripper onto an
    object never opens it by noise around its mean; with the gripper held open it slides down around
    the object, and closes when the hold ends. After temporally extended epsilon-greedy exploration
    (Dabney et al. 2020, arXiv 2006.01782), here for each dimension on its own.

    Args:
        action_size: A.
        rate: chance that a free dimension is held from this step on.
        longest: a hold lasts 1 to so many steps, each as likely.
    """

    def __init__(self, action_size: int, rate: float, longest: int) -> None:
        self.rate, self.longest = rate, longest
        self.action_size = action_size
        self.draws_size = 3 * action_size  # whether a hold starts, how long it lasts, its value
        self.memory_size = 2 * action_size  # steps left, value

    def draw(self, shape: Shape, generator: Generator) -> Tensor:
        """The random numbers of one step, `[*shape, 3 A]`."""
        size = (*shape, self.action_size)
        starts = torch.rand(size, generator=generator)
        steps = torch.randint(1, self.longest + 1, size, generator=generator)
        value = 2 * torch.rand(size, generator=generator) - 1
        return torch.cat([starts, steps, value], dim=-1)

    def apply(self, actions: Tensor, draws: Tensor, memory: Tensor) -> Tensor:
        """The actions to take instead of the policy's; held values are in [-1, 1].

        Args:
            actions: `[..., A]`.
            draws: `[..., 3 A]`.
            memory: `[..., 2 A]`, changed in place.
        """
        start, steps, value = draws.chunk(3, dim=-1)
        left, held = memory.chunk(2, dim=-1)  # views
        starts = (start < self.rate) & (left == 0)
        left.copy_(torch.where(starts, steps, left))
        held.copy_(torch.where(starts, value, held))
        taken = torch.where(left > 0, held, actions)
        left.sub_(1).clamp_(min=0)
        return taken
