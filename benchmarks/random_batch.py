"""Batches of random numbers, shaped as the replay buffer would draw them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from agent.plan import Plan
from agent.replay import Batch


def random_batch(plan: Plan, generator: Generator) -> tuple[Batch, Tensor]:
    """A batch on the plan's device, and the noise of its update `[2, ..., action]`."""
    config, tasks = plan.config, len(plan.tasks)
    n = config.replay.batch_size
    uniform = config.replay.sampling == "uniform"
    shape = (n,) if uniform else (tasks, n // tasks)

    def uniformly(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator).to(plan.device)

    batch = Batch(
        obs=uniformly(*shape, plan.obs_size),
        action=2 * uniformly(*shape, plan.action_size) - 1,
        reward=uniformly(*shape),
        next_obs=uniformly(*shape, plan.obs_size),
        discount=0.99 * (uniformly(*shape) > 0.2),
        task=(torch.arange(n) % tasks).to(plan.device) if uniform else None,
    )
    noise = torch.randn(2, *shape, plan.action_size, generator=generator)
    return batch, noise.to(plan.device)
