"""Where a network's context comes from when it learns one task after the other.

| source | told while it learns | told at test | context |
|---|---|---|---|
| `OneHotContexts` | the task | the task | its one-hot |
| `PrototypeContexts` | where a task begins | nothing | the mean image of the nearest task |
| `ClusteredContexts` (continual/clustering.py) | nothing | nothing | the mean image of the nearest cluster |

Prototypes and clusters: Iyer et al. 2022 (arXiv 2201.00042), on permutedMNIST.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Contexts(Protocol):
    """A source of contexts. `table [K, C]` are those known so far."""

    told: str
    """What the method is told, for reports."""
    table: Tensor

    def begin_task(self, task: int, images: Tensor) -> None:
        """A task begins, whose training images are `[n, pixels]`; for those who are told."""

    def of_batch(self, images: Tensor) -> int:
        """Row of `table` for a batch `[b, pixels]` of the task that is being learned."""

    def infer(self, images: Tensor, task: int) -> Tensor:
        """Row of `table` for each test image `[n, pixels] -> [n]` int64; `task` for those who are told."""

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`; raises `KeyError` or `RuntimeError` if it is none."""


class OneHotContexts:
    """The task is known, always: the upper reference."""

    told = "the task, while learning and at test"

    def __init__(self, num_tasks: int) -> None:
        self.table = torch.eye(num_tasks)
        self._task = 0

    def begin_task(self, task: int, images: Tensor) -> None:
        """The next task begins."""
        self._task = task

    def of_batch(self, images: Tensor) -> int:
        """The task itself."""
        return self._task

    def infer(self, images: Tensor, task: int) -> Tensor:
        """The task itself, for each image."""
        return torch.full((len(images),), task)

    def state_dict(self) -> dict[str, Tensor]:
        """The task that is being learned."""
        return {"task": torch.tensor(self._task)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`."""
        self._task = int(state["task"])


class PrototypeContexts:
    """The mean image of each task; at test, an image belongs to the task with the nearest one.

    Args:
        pixels: of an image.
    """

    told = "where a task begins while learning, nothing at test"

    def __init__(self, pixels: int) -> None:
        self.table = torch.empty(0, pixels)

    def begin_task(self, task: int, images: Tensor) -> None:
        """A new prototype: the mean of the task's training images. A second call changes nothing."""
        if task == len(self.table):
            self.table = torch.cat([self.table, images.mean(dim=0, keepdim=True).cpu()])

    def of_batch(self, images: Tensor) -> int:
        """The newest prototype."""
        return len(self.table) - 1

    def infer(self, images: Tensor, task: int) -> Tensor:
        """The nearest prototype of each image; `task` is not looked at."""
        return nearest(images, self.table)

    def state_dict(self) -> dict[str, Tensor]:
        """The prototypes."""
        return {"table": self.table}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore `state_dict()`."""
        self.table = self.table.new_empty(len(state["table"]), self.table.shape[1])
        self.table.copy_(state["table"])


def nearest(images: Tensor, table: Tensor) -> Tensor:
    """The row of `table [K, pixels]` nearest to each image `[n, pixels] -> [n]` int64."""
    return torch.cdist(images, table.to(images.device)).argmin(dim=1).cpu()
