"""The shared replay buffer: one ring per task, batches laid out task by task."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import psutil
import torch
from torch import Generator, Tensor

from configs.errors import UsageError

Sampling = Literal["balanced", "uniform"]


class Batch(NamedTuple):
    """A batch of transitions; `[...]` is `[T, b]` (task-major), or `[n]` with `rows`."""

    obs: Tensor  # [..., obs] float32
    action: Tensor  # [..., action] float32, in [-1, 1]
    reward: Tensor  # [...] float32, raw, discounted sum over the n steps taken
    next_obs: Tensor  # [..., obs] float32, n steps on; the true successor, never a reset's
    discount: Tensor  # [...] float32, of the value of next_obs: gamma^n, 0 after a termination
    rows: Tensor | None  # [n] int64 task index of each sample; None for a task-major batch

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; itself if it is there already."""
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device, non_blocking=True)
            for name, value in self._asdict().items()
        }
        return Batch(**moved)


class ReplayBuffer:
    """One ring of `capacity // num_tasks` transitions per task, written side by side.

    All tasks are stepped together, so all rings share one write position and one size. Rewards are
    stored as the simulator gave them; n-step returns are summed when they are sampled.

    Args:
        num_tasks: T.
        capacity: transitions over all tasks.
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
        capacity: int,
        obs_size: int,
        action_size: int,
        device: torch.device,
        *,
        discount: float,
        n_step: int = 1,
    ) -> None:
        self.num_tasks = num_tasks
        self.discount, self.n_step = discount, n_step
        self.ring = capacity // num_tasks
        self.position = 0
        self.size = 0  # transitions stored per task
        self.copies = 1  # transitions of each task in one `add`: how far apart successors are
        self.require_memory(num_tasks, capacity, obs_size, action_size, device)
        lead = (num_tasks, self.ring)
        self.storage = {
            "obs": torch.empty(*lead, obs_size, device=device),
            "action": torch.empty(*lead, action_size, device=device),
            "reward": torch.empty(lead, device=device),
            "next_obs": torch.empty(*lead, obs_size, device=device),
            "terminated": torch.empty(lead, dtype=torch.bool, device=device),
            "truncated": torch.empty(lead, dtype=torch.bool, device=device),
        }

    @staticmethod
    def bytes_needed(num_tasks: int, capacity: int, obs_size: int, action_size: int) -> int:
        """Storage in bytes: float32 features and reward, one byte for either kind of end."""
        return (capacity // num_tasks) * num_tasks * (4 * (2 * obs_size + action_size + 1) + 2)

    @staticmethod
    def choose_device(needed: int, learner: torch.device, free: int) -> torch.device:
        """Where a storage of `needed` bytes goes: to the learner, if that leaves it half of `free`."""
        return learner if needed <= free // 2 else torch.device("cpu")

    @classmethod
    def require_memory(
        cls, num_tasks: int, capacity: int, obs_size: int, action_size: int, device: torch.device
    ) -> None:
        """Raise `UsageError` if the storage would not fit into free memory."""
        needed = cls.bytes_needed(num_tasks, capacity, obs_size, action_size)
        free = free_bytes(device)
        if needed > free:
            raise UsageError(
                f"replay.capacity: {capacity:,} transitions need {needed / 1e9:.2f} GB and {device} has "
                f"{free / 1e9:.2f} GB free; use a smaller --replay.capacity"
            )

    def add(
        self,
        obs: Tensor,
        action: Tensor,
        reward: Tensor,
        next_obs: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        lost: Tensor | None = None,
    ) -> None:
        """Store N transitions of every task: `[T, N, obs]`, `[T, N, action]`, `[T, N]`, ...

        Row i of one call follows row i of the call before, unless an episode ended there; so for
        n_step > 1 every call must store the same N. In the place of a `lost [T, N]` transition the
        one before it is stored a second time, and its episode ends there.
        """
        rows = dict(
            obs=obs,
            action=action,
            reward=reward,
            next_obs=next_obs,
            terminated=terminated,
            truncated=truncated,
        )
        self.copies = count = obs.shape[1]
        slots = (self.position + torch.arange(count)) % self.ring
        for name, value in rows.items():
            store = self.storage[name]
            store[:, slots.to(store.device)] = value.to(store.device, store.dtype)
        if lost is not None and lost.any():
            self._repeat(lost, slots)
        self.position = (self.position + count) % self.ring
        self.size = min(self.size + count, self.ring)

    def _repeat(self, lost: Tensor, slots: Tensor) -> None:
        """Fill the slots of `lost [T, N]` transitions with those before them, and end those there."""
        if self.size == 0:
            raise UsageError("a simulator failed in its very first step; start again")
        tasks, rows = lost.to(slots.device).nonzero(as_tuple=True)
        here, before = slots[rows], (slots[rows] - self.copies) % self.ring
        self.storage["truncated"][tasks, before] = True
        for store in self.storage.values():
            store[tasks, here] = store[tasks, before]

    def sample(self, sampling: Sampling, batch_size: int, generator: Generator) -> Batch:
        """A random batch; `generator` must be on the buffer's device.

        balanced: `batch_size // T` transitions of every task, task-major `[T, b, ...]`. uniform:
        `batch_size` over everything stored, `[n, ...]` with `rows [n]`. Both with replacement.
        """
        if sampling == "balanced":
            return self._sample_balanced(batch_size // self.num_tasks, generator)
        return self._sample_uniform(batch_size, generator)

    def newest(self, per_task: int) -> Batch:
        """The last transitions of every task, at most `per_task`, task-major and in no order."""
        count = min(per_task, self.size)
        columns = (self.position - 1 - torch.arange(count)) % self.ring
        return self._rows_of_each_task(columns.expand(self.num_tasks, -1))

    def _sample_balanced(self, per_task: int, generator: Generator) -> Batch:
        columns = torch.randint(
            self.size, (self.num_tasks, per_task), generator=generator, device=generator.device
        )  # [T, b]
        return self._rows_of_each_task(columns)

    def _sample_uniform(self, batch_size: int, generator: Generator) -> Batch:
        draw = torch.randint(
            self.num_tasks * self.size, (batch_size,), generator=generator, device=generator.device
        )
        rows, columns = draw // self.size, draw % self.size
        return self._gather(rows, columns)._replace(rows=rows)

    def _rows_of_each_task(self, columns: Tensor) -> Batch:
        """Task-major batch of ring positions `columns [T, b]`."""
        columns = columns.to(self.storage["obs"].device)
        tasks = torch.arange(self.num_tasks, device=columns.device).unsqueeze(1)  # [T, 1]
        return self._gather(tasks.expand_as(columns), columns)

    def _gather(self, tasks: Tensor, columns: Tensor) -> Batch:
        """The transitions at ring positions `columns [...]` of `tasks [...]`, n steps each."""
        first = (tasks * self.ring + columns).flatten()
        columns = columns.flatten()
        newer = (self.position - 1 - columns) % self.ring  # transitions written after this one
        last, reward = first, self._at("reward", first)
        discount = torch.full_like(reward, self.discount)
        goes_on = torch.ones_like(first, dtype=torch.bool)
        for ahead in range(self.copies, self.n_step * self.copies, self.copies):
            ended = self._at("terminated", last) | self._at("truncated", last)
            goes_on = goes_on & ~ended & (newer >= ahead)
            next_one = first - columns + (columns + ahead) % self.ring
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
        shaped = {
            name: value.view(*tasks.shape, *value.shape[1:]) for name, value in values.items()
        }
        return Batch(**shaped, rows=None)

    def _at(self, name: str, index: Tensor) -> Tensor:
        return self.storage[name].flatten(0, 1).index_select(0, index)

    def state_dict(self) -> dict[str, Tensor]:
        """The written part of the rings, the write position, and how far apart successors are."""
        state = {
            name: store[:, : self.size].cpu().contiguous() for name, store in self.storage.items()
        }
        state |= {"position": torch.tensor(self.position), "copies": torch.tensor(self.copies)}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore; raises `ValueError` if it is not the state of rings of our size."""
        for name in ("position", "copies"):
            if state[name].shape != () or state[name].dtype != torch.int64:
                raise ValueError(f"'{name}' is not a whole number")
        size = state["reward"].shape[-1] if state["reward"].dim() else 0
        position, copies = int(state["position"]), int(state["copies"])
        if not 1 <= copies <= self.ring or not 0 <= position <= self.ring:
            raise ValueError(f"position {position} and copies {copies} are not of this ring")
        # While a ring fills up, its write position is its size; a full ring must have our length.
        if size > self.ring or position != (size if size < self.ring else position % self.ring):
            raise ValueError(f"holds {size} transitions per task, the ring is {self.ring}")
        for name, store in self.storage.items():
            theirs = state[name]
            if (
                theirs.shape != (self.num_tasks, size, *store.shape[2:])
                or theirs.dtype != store.dtype
            ):
                raise ValueError(f"'{name}' is {theirs.dtype} {tuple(theirs.shape)}")
            if not theirs.isfinite().all():
                raise ValueError(f"'{name}' is not finite")
        for name, store in self.storage.items():
            store[:, :size] = state[name]
        self.size, self.position, self.copies = size, position, copies


def free_bytes(device: torch.device) -> int:
    """Memory that can still be allocated on `device`."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
