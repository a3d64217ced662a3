"""The shared replay buffer: a ring of time for every environment, batches laid out task by task."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from agent import draws
from agent.batch import Batch
from configs.errors import RunError, UsageError
from machine.device import free_bytes

Sampling = Literal["balanced", "uniform"]


class ReplayBuffer:
    """The newest transitions of every environment, in time order: `[T, N, time]`.

    Every task has its own write position and count, so tasks may be collected at different times.
    Rewards are stored as the simulator gave them; n-step returns are summed when they are sampled.

    Args:
        num_tasks: T.
        copies: N environments per task.
        capacity: transitions over all tasks; each environment keeps the newest capacity // (T N).
        obs_size, action_size: features.
        device: where the storage lives.
        discount: gamma.
        n_step: steps of real reward before the bootstrap (fewer at the end of an episode and
            at the newest transitions), uncorrected for the policy that took them (Hessel et al.
            2018, arXiv 1710.02298).

    Raises:
        UsageError: the storage would not fit into free memory.
    """

    def __init__(
        self,
        num_tasks: int,
        copies: int,
        capacity: int,
        obs_size: int,
        action_size: int,
        device: torch.device,
        *,
        discount: float,
        n_step: int = 1,
    ) -> None:
        self.num_tasks, self.copies = num_tasks, copies
        self.discount, self.n_step = discount, n_step
        self.length = capacity // (num_tasks * copies)
        """Vector steps that fit."""
        self.position = torch.zeros(num_tasks, dtype=torch.int64)  # [T] next time to be written
        self.stored = torch.zeros(num_tasks, dtype=torch.int64)  # [T] times written so far
        self.require_memory(num_tasks, copies, capacity, obs_size, action_size, device)
        lead = (num_tasks, copies, self.length)
        # Zeros cost nothing until they are written to, and make what is saved the same every time.
        self.storage = {
            "obs": torch.zeros(*lead, obs_size, device=device),
            "action": torch.zeros(*lead, action_size, device=device),
            "reward": torch.zeros(lead, device=device),
            "next_obs": torch.zeros(*lead, obs_size, device=device),
            "terminated": torch.zeros(lead, dtype=torch.bool, device=device),
            "truncated": torch.zeros(lead, dtype=torch.bool, device=device),
        }
        self._device = device

    @staticmethod
    def bytes_needed(
        num_tasks: int, copies: int, capacity: int, obs_size: int, action_size: int
    ) -> int:
        """Storage in bytes: float32 features and reward, one byte for either kind of end."""
        environments = num_tasks * copies
        return capacity // environments * environments * (4 * (2 * obs_size + action_size + 1) + 2)

    @staticmethod
    def choose_device(needed: int, learner: torch.device, free: int) -> torch.device:
        """Where a storage of `needed` bytes goes: to the learner, if that leaves it half of `free`."""
        return learner if needed <= free // 2 else torch.device("cpu")

    @classmethod
    def require_memory(
        cls,
        num_tasks: int,
        copies: int,
        capacity: int,
        obs_size: int,
        action_size: int,
        device: torch.device,
    ) -> None:
        """Raise `UsageError` if the storage would not fit into free memory."""
        needed = cls.bytes_needed(num_tasks, copies, capacity, obs_size, action_size)
        free = free_bytes(device)
        if needed > free:
            raise UsageError(
                f"replay.capacity: {capacity:,} transitions need {needed / 1e9:.2f} GB and {device} has "
                f"{free / 1e9:.2f} GB free; use a smaller --replay.capacity"
            )

    @property
    def counts(self) -> Tensor:
        """Transitions stored of each task `[T]`, on the CPU."""
        return self.stored * self.copies

    def add(
        self,
        obs: Tensor,
        action: Tensor,
        reward: Tensor,
        next_obs: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        lost: Tensor | None = None,
        tasks: Tensor | None = None,
    ) -> None:
        """Store one vector step: `[t, N, obs]`, `[t, N, action]`, `[t, N]`, ...

        Args:
            obs, action, reward, next_obs, terminated, truncated: the transitions.
            lost: `[t, N]`: in the place of such a transition the one before it is stored a second
                time, and its episode ends there.
            tasks: `[t]` the tasks that were stepped; `None` for all T of them, in order.

        Raises:
            RunError: a transition is lost, and there is none before it.
        """
        tasks = torch.arange(self.num_tasks) if tasks is None else tasks
        time = self.position[tasks]  # [t]
        indices = (tasks[:, None], torch.arange(self.copies), time[:, None])  # broadcast to [t, N]
        where = tuple(index.to(self._device) for index in indices)
        values = (obs, action, reward, next_obs, terminated, truncated)
        for store, value in zip(self.storage.values(), values, strict=True):
            store[where] = value.to(self._device, store.dtype)
        if lost is not None and lost.any():
            self._repeat(lost, tasks, time)
        self.position[tasks] = (time + 1) % self.length
        self.stored[tasks] = (self.stored[tasks] + 1).clamp(max=self.length)

    def _repeat(self, lost: Tensor, tasks: Tensor, time: Tensor) -> None:
        """Fill the places of `lost [t, N]` transitions with those before them, and end those there."""
        row, copy = lost.nonzero(as_tuple=True)
        if not self.stored[tasks[row]].all():
            raise RunError(
                "a simulator failed in the very first step of a task; go on with --resume, or start again "
                "if there is no checkpoint yet"
            )
        task, here = tasks[row], time[row]
        before = (here - 1) % self.length
        self.storage["truncated"][task, copy, before] = True
        for store in self.storage.values():
            store[task, copy, here] = store[task, copy, before]

    def sample(
        self,
        sampling: Sampling,
        batch_size: int,
        generator: Generator,
        shares: Tensor | None = None,
    ) -> Batch:
        """A random batch, with replacement; `generator` must be on the buffer's device.

        balanced: `batch_size // T` transitions of every task, task-major `[T, b, ...]`; with `shares [T]`
        of the tasks, groups of one task each, as many of a task as its share says on average,
        `[G, b, ...]` with `task [G, 1]` (`agent/draws.py`). uniform: `batch_size` over everything stored,
        `[n, ...]` with `task [n]`.

        Raises:
            ValueError: nothing is stored of a task that should be sampled.
        """
        counts = self.counts
        wanted = counts if shares is None else counts[shares.cpu() > 0]
        if not (wanted if sampling == "balanced" else counts.sum()).all():
            raise ValueError(f"no transitions to sample; stored of each task: {counts.tolist()}")
        if sampling == "uniform":
            task, place = draws.uniform(counts, batch_size, generator)
        elif shares is None:
            task, place = draws.balanced(counts, batch_size, generator)
        else:
            task, place = draws.by_shares(counts, batch_size, generator, shares)
        batch = self._gather(task.expand_as(place), place % self.copies, place // self.copies)
        return batch if sampling == "balanced" and shares is None else batch._replace(task=task)

    def newest(self, per_task: int) -> Batch:
        """The last transitions of every task that has any, at most `per_task`, in no order.

        Task-major `[T, b, ...]`; while a task has none, `[t, b, ...]` with `task [t, 1]`.
        """
        tasks = self.stored.nonzero()  # [t, 1]
        count = min(per_task, int(self.counts[tasks].min()))
        age = torch.arange(count)  # [b] 0 is the newest transition of the last copy
        time = (self.position[tasks] - 1 - age // self.copies) % self.length  # [t, b]
        copy = (self.copies - 1 - age % self.copies).expand_as(time)
        places = (tasks.expand_as(time), copy, time)
        batch = self._gather(*(index.to(self._device) for index in places))
        return batch if len(tasks) == self.num_tasks else batch._replace(task=tasks)

    def _gather(self, task: Tensor, copy: Tensor, time: Tensor) -> Batch:
        """The transitions at `[...]` places of the storage, n steps each."""
        shape, task = task.shape, task.flatten()
        row = (task * self.copies + copy.flatten()) * self.length  # of an environment's first time
        time = time.flatten()
        newer = (self.position.to(time.device)[task] - 1 - time) % self.length  # written after it
        first = last = row + time
        reward = self._at("reward", first)
        discount = torch.full_like(reward, self.discount)
        goes_on = torch.ones_like(first, dtype=torch.bool)
        for ahead in range(1, self.n_step):
            ended = self._at("terminated", last) | self._at("truncated", last)
            goes_on = goes_on & ~ended & (newer >= ahead)
            next_one = row + (time + ahead) % self.length
            last = torch.where(goes_on, next_one, last)
            longer = reward + discount * self._at("reward", next_one)
            reward = torch.where(goes_on, longer, reward)
            discount = torch.where(goes_on, discount * self.discount, discount)
        values = {
            "obs": self._at("obs", first),
            "action": self._at("action", first),
            "reward": reward,
            "next_obs": self._at("next_obs", last),
            "discount": discount * ~self._at("terminated", last),
        }
        shaped = {name: value.view(*shape, *value.shape[1:]) for name, value in values.items()}
        return Batch(**shaped, task=None)

    def _at(self, name: str, index: Tensor) -> Tensor:
        return self.storage[name].flatten(0, 2).index_select(0, index)

    def state_dict(self) -> dict[str, Tensor]:
        """The written part of the rings (up to the fullest task's), positions and counts."""
        longest = int(self.stored.max())
        state = {name: store[:, :, :longest].cpu() for name, store in self.storage.items()}
        return state | {"position": self.position.clone(), "stored": self.stored.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore; raises `ValueError` if it is not the state of rings of our size."""
        for name in ("position", "stored"):
            if state[name].shape != (self.num_tasks,) or state[name].dtype != torch.int64:
                raise ValueError(f"'{name}' is not a whole number for each task")
        position, stored = state["position"], state["stored"]
        # While a ring fills up, its write position is its count.
        filling = stored < self.length
        if not ((stored >= 0) & (stored <= self.length)).all():
            raise ValueError(f"holds {stored.max()} vector steps, the ring {self.length}")
        if not torch.where(filling, position == stored, position < self.length).all():
            raise ValueError("'position' and 'stored' do not agree")
        if not (position >= 0).all():
            raise ValueError("'position' is negative")
        longest = int(stored.max())
        for name, store in self.storage.items():
            theirs, shape = state[name], (self.num_tasks, self.copies, longest, *store.shape[3:])
            if theirs.shape != shape or theirs.dtype != store.dtype:
                raise ValueError(f"'{name}' is {theirs.dtype} {tuple(theirs.shape)}")
            if not theirs.isfinite().all():
                raise ValueError(f"'{name}' is not finite")
        for name, store in self.storage.items():
            store[:, :, :longest] = state[name]
        self.position, self.stored = position.clone(), stored.clone()
