"""Values of tasks and values of samples: from one to the other, in either order of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

TASKS_PRESENT = "batch/tasks_present"
"""The key of `tasks_present` in what an update returns."""


def per_sample(table: Tensor, task: Tensor | None, dim: int = 0) -> Tensor:
    """A table with a row for each task, as the samples of a batch need it.

    Args:
        table: with T rows along `dim`.
        task: `None` for a task-major batch; `[G, 1]` the task index of each group of one; `[n]` of each
            sample.
        dim: where the tasks are.

    Returns:
        For a task-major batch the table, or its row of each group, with a dimension of 1 after the
        tasks, to broadcast over their samples; else the row of each sample, n of them along `dim`.
    """
    if task is not None:
        table = table.index_select(dim, task.flatten())
    if task is not None and task.dim() == 1:
        return table
    return table.unsqueeze(dim + 1 if dim >= 0 else table.dim() + dim + 1)


def per_task(values: Tensor, task: Tensor | None, num_tasks: int) -> Tensor:
    """Mean over each task's samples `[T]`; 0 for a task with none.

    `values` is `[T, b]`, `[G, b]` with `task [G, 1]`, or `[n]` with `task [n]`.
    """
    if task is None:
        return values.mean(dim=-1)
    # Not `index_add`: with two threads or more, torch 2.13 does not compile it for the CPU.
    own = members(task.expand_as(values).flatten(), num_tasks)  # [T, samples]
    totals = torch.where(own, values.flatten(), 0.0).sum(dim=-1)
    return totals / own.sum(dim=-1).clamp(min=1)


def members(task: Tensor, num_tasks: int) -> Tensor:
    """Whether each of some samples or groups `task [n]` is of each task, `[T, n]`."""
    return task == torch.arange(num_tasks, device=task.device).unsqueeze(1)


def tasks_present(task: Tensor | None, like: Tensor) -> Tensor:
    """1 for a task of which a batch has samples, else 0; `[T]` like `like`, `task` as in `per_sample`."""
    if task is None:
        return torch.ones_like(like)
    return torch.zeros_like(like).index_fill(0, task.flatten(), 1.0)
