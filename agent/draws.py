"""Which transitions a batch takes: the task of each sample, and its place among those of the task.

All draws are with replacement. `counts [T]` says how many transitions are stored of each task.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

Draw = tuple[Tensor, Tensor]
"""Tasks, and places below the tasks' counts; both int64, on the generator's device."""


def balanced(counts: Tensor, batch_size: int, generator: Generator) -> Draw:
    """`batch_size // T` of every task, task-major: `[T, 1]`, `[T, b]`."""
    num_tasks, where = len(counts), generator.device
    draws = [
        torch.randint(count, (batch_size // num_tasks,), generator=generator, device=where)
        for count in counts.tolist()
    ]
    return torch.arange(num_tasks, device=where).unsqueeze(1), torch.stack(draws)


def by_shares(counts: Tensor, batch_size: int, generator: Generator, shares: Tensor) -> Draw:
    """Groups of one task each, as many of a task as its share says on average: `[G, 1]`, `[G, b]`.

    There are two groups for each task, or one where `batch_size // T` is odd. Systematic sampling
    keeps their numbers within one of `shares [T]`. A task with the share 0 has none.
    """
    num_tasks, where = len(counts), generator.device
    per_task = batch_size // num_tasks
    groups = num_tasks if per_task % 2 else 2 * num_tasks
    ends = (shares / shares.sum()).cumsum(0).to(where)  # [T]
    start = torch.rand((), generator=generator, device=where)
    points = (start + torch.arange(groups, device=where)) / groups  # [G] in [0, 1)
    task = torch.searchsorted(ends, points.to(ends.dtype), right=True)
    last = int(shares.nonzero()[-1])
    task = task.clamp(max=last).unsqueeze(1)  # rounding may pass the last end
    own = counts.to(where)[task]  # [G, 1]
    draw = torch.rand((groups, per_task * num_tasks // groups), generator=generator, device=where)
    return task, torch.minimum((draw.double() * own).long(), own - 1)


def uniform(counts: Tensor, batch_size: int, generator: Generator) -> Draw:
    """`batch_size` over everything stored: `[n]`, `[n]`."""
    ends = counts.cumsum(0)  # [T]
    draw = torch.randint(int(ends[-1]), (batch_size,), generator=generator, device=generator.device)
    ends = ends.to(draw.device)
    task = torch.searchsorted(ends, draw, right=True)
    return task, draw - (ends - counts.to(draw.device))[task]
