"""The policy with its exploration, as it acts in the simulators' processes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from agent.exploration import ExplorationNoise, HeldActions
from agent.policy import Policy
from configs.schema import ExplorationConfig
from envs.arrays import require_range
from envs.sizes import ACTION_SIZE

_LARGEST_NOISE = 100  # standard normal: never reached


class PolicyPlayer:
    """An `envs.Player`: the policy as it is when a chunk begins.

    Args:
        policy: acts; its tensors are those that the learner changes.
        num_tasks: T.
        noise: what is added to the mean, in units of the policy's spread; `None` for the mean alone.
        held: dimensions that are held now and then.
    """

    def __init__(
        self,
        policy: Policy,
        num_tasks: int,
        noise: ExplorationNoise | None = None,
        held: HeldActions | None = None,
    ) -> None:
        self.policy, self.num_tasks, self.noise, self.held = policy, num_tasks, noise, held
        parts = [part for part in (noise, held) if part is not None]
        self.draws_size = sum(part.draws_size for part in parts)
        self.memory_size = sum(part.memory_size for part in parts)

    def for_workers(self) -> bytes:
        """A pickled copy on the CPU."""
        theirs = copy.copy(self)
        theirs.policy = copy.deepcopy(self.policy).to(torch.device("cpu"))
        return pickle.dumps(theirs)

    def weights(self) -> NDArray[np.float32]:
        """The policy's tensors, one after the other `[P]`."""
        tensors = [tensor.detach().flatten() for tensor in self.policy.tensors()]
        return torch.cat(tensors).cpu().numpy()

    def draw(self, steps: int, num_envs: int, generator: Generator | None) -> NDArray[np.float32]:
        """Random numbers `[steps, E, D]`; none are drawn for the mean alone."""
        parts = [part for part in (self.noise, self.held) if part is not None]
        if not parts:
            return np.zeros((steps, num_envs, 0), np.float32)
        assert generator is not None
        rows = [
            torch.cat([part.draw((num_envs,), generator) for part in parts], dim=-1)
            for _ in range(steps)
        ]
        return torch.stack(rows).numpy()

    def require_memory(self, memory: NDArray[np.float32]) -> None:
        """Raise `ValueError` if `memory [E, S]` is out of the range of noise and holds."""
        noise, held = self._split(torch.from_numpy(memory), "memory_size")
        require_range("memory of the noise", noise.numpy(), -_LARGEST_NOISE, _LARGEST_NOISE)
        if self.held is not None:
            left, value = held.chunk(2, dim=-1)
            require_range("memory of held steps", left.numpy(), 0, self.held.longest)
            require_range("memory of held values", value.numpy(), -1, 1)

    def start(self) -> None:
        """One thread: the other cores are the learner's, or other workers'."""
        torch.set_num_threads(1)

    @torch.no_grad()
    def load(self, weights: NDArray[np.float32]) -> None:
        """Take over `weights [P]`."""
        tensors = self.policy.tensors()
        parts = torch.from_numpy(weights).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def act(
        self, obs: NDArray[np.float32], draws: NDArray[np.float32], memory: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Actions `[E, 4]` for `obs [E, 39]`, with the random numbers `draws [E, D]`."""
        noise_draws, held_draws = self._split(torch.from_numpy(draws), "draws_size")
        noise_memory, held_memory = self._split(torch.from_numpy(memory), "memory_size")
        noise = None if self.noise is None else self.noise.next(noise_draws, noise_memory)
        lead = (self.num_tasks, -1)
        shaped = None if noise is None else noise.view(*lead, ACTION_SIZE)
        actions = self.policy.act(obs.reshape(*lead, obs.shape[-1]), shaped)
        taken = torch.from_numpy(actions.reshape(len(obs), ACTION_SIZE))
        if self.held is not None:
            taken = self.held.apply(taken, held_draws, held_memory)
        return taken.numpy()

    def _split(self, numbers: Tensor, size: str) -> list[Tensor]:
        """The part of the noise and the part of the holds of `[..., D]` or `[..., S]`."""
        sizes = [0 if part is None else getattr(part, size) for part in (self.noise, self.held)]
        return list(numbers.split(sizes, dim=-1))


def exploring_player(policy: Policy, num_tasks: int, config: ExplorationConfig) -> PolicyPlayer:
    """Acts as in training."""
    noise = ExplorationNoise(ACTION_SIZE, config.noise_correlation)
    held = HeldActions(ACTION_SIZE, config.hold_rate, config.hold_steps)
    return PolicyPlayer(policy, num_tasks, noise, held if config.hold_rate else None)


def evaluated_player(policy: Policy, num_tasks: int, sampled: bool) -> PolicyPlayer:
    """Acts as in evaluations: the policy's mean, or sampled independently at every step."""
    return PolicyPlayer(policy, num_tasks, ExplorationNoise(ACTION_SIZE, 0.0) if sampled else None)
