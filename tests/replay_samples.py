"""For the tests of the replay buffer: poisoned storage, and transitions that say who they are."""

from __future__ import annotations

import torch
from torch import Tensor

from agent.batch import Batch
from agent.replay import ReplayBuffer

CPU = torch.device("cpu")
OBS, ACTION = 3, 2
DISCOUNT = 0.75  # its powers are exact


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poisoned(num_tasks: int, copies: int, length: int, n_step: int = 1) -> ReplayBuffer:
    """An empty buffer of `length` vector steps in which reading an unwritten place shows."""
    buffer = ReplayBuffer(
        num_tasks,
        copies,
        num_tasks * copies * length,
        OBS,
        ACTION,
        CPU,
        discount=DISCOUNT,
        n_step=n_step,
    )
    for store in buffer.storage.values():
        if store.is_floating_point():
            store.fill_(float("nan"))
    return buffer


def saved(buffer: ReplayBuffer) -> dict[str, Tensor]:
    """A copy of its state; the poison of unwritten places, which no load takes, is made finite."""
    return {name: value.nan_to_num(nan=7e20) for name, value in buffer.state_dict().items()}


def transitions(number: Tensor) -> dict[str, Tensor]:
    """Transitions made of their unique numbers `[...]`."""
    return {
        "obs": number.unsqueeze(-1) + torch.tensor([0.0, 0.25, 0.5]),
        "action": number.unsqueeze(-1) * torch.tensor([1.0, -1.0]),
        "reward": -number,
        "next_obs": number.unsqueeze(-1) + torch.tensor([100.0, 200.0, 300.0]),
        "terminated": is_terminated(number),
        "truncated": torch.zeros_like(number, dtype=torch.bool),
    }


def is_terminated(number: Tensor) -> Tensor:
    """Alternates along time and along environments."""
    return (number // 1000 + number) % 2 == 1


def numbers_of(batch: Batch) -> Tensor:
    """The numbers of a batch, after checking that all fields of a sample belong together."""
    number = -batch.reward
    own = transitions(number)
    assert torch.equal(batch.obs, own["obs"])
    assert torch.equal(batch.action, own["action"])
    assert torch.equal(batch.next_obs, own["next_obs"])
    assert torch.equal(batch.discount, DISCOUNT * ~own["terminated"])
    return number.long()


class Lists:
    """The oracle: one Python list per task of the numbers that should be stored.

    A transition's number is 1000 * time of its task + environment.
    """

    def __init__(self, num_tasks: int, copies: int, length: int) -> None:
        self.buffer = poisoned(num_tasks, copies, length)
        self.shape, self.length = (num_tasks, copies), length
        self.clock = [0] * num_tasks
        self.stored: list[list[int]] = [[] for _ in range(num_tasks)]

    def add(self, which: list[int] | None = None, *others: ReplayBuffer) -> None:
        """One step of some tasks, or of all, into our buffer and into others."""
        num_tasks, copies = self.shape
        numbers = [
            [1000 * self.clock[task] + task * copies + copy for copy in range(copies)]
            for task in (range(num_tasks) if which is None else which)
        ]
        step = transitions(torch.tensor(numbers, dtype=torch.float32))
        for buffer in (self.buffer, *others):
            buffer.add(**step, tasks=None if which is None else torch.tensor(which))
        for task, own in zip(range(num_tasks) if which is None else which, numbers, strict=True):
            self.clock[task] += 1
            self.stored[task] += own
            del self.stored[task][: -self.length * copies]

    def filled(self, steps: int) -> Lists:
        for _ in range(steps):
            self.add()
        return self
