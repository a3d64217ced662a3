"""Batches of random numbers, laid out as the training run would draw them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from agent.batch import Batch
from agent.first_update import blank_batch
from agent.plan import Plan

_CPU = torch.device("cpu")


def random_batch(plan: Plan, generator: Generator) -> tuple[Batch, Tensor]:
    """A batch on the plan's device, and the noise of its update `[2, ..., action]`."""
    here = replace(plan, device=_CPU, replay_device=_CPU)
    layout, _ = blank_batch(here)  # in groups where tasks have shares, as in mt10
    shape = layout.reward.shape  # [T, b], [G, b] or [n]

    def uniformly(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator).to(plan.device)

    batch = Batch(
        obs=uniformly(*shape, plan.obs_size),
        action=2 * uniformly(*shape, plan.action_size) - 1,
        reward=uniformly(*shape),
        next_obs=uniformly(*shape, plan.obs_size),
        discount=0.99 * (uniformly(*shape) > 0.2),
        task=None if layout.task is None else layout.task.to(plan.device),
    )
    noise = torch.randn(2, *shape, plan.action_size, generator=generator)
    return batch, noise.to(plan.device)
