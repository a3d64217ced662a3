"""For the tests of the update: a small agent of three tasks, and batches for it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from agent.batch import Batch
from agent.plan import Plan, resolve
from agent.sac import SAC
from configs import load_config

TASKS, PER_TASK, OBS, ACTION = 3, 6, 5, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_plan(
    critic_loss: str = "hl_gauss",
    network: dict | None = None,
    dtype: torch.dtype = torch.float64,
    **settings: object,
) -> Plan:
    """k-winners in float32, ReLU in float64 (the kernels of k-winners are of float32)."""
    config = load_config("smoke")
    small = {"actor_hidden": (12, 8), "critic_hidden": (10, 8), "num_segments": 3}
    small["activation"] = "relu" if dtype == torch.float64 else "k_winners"
    agent = {"critic_loss": critic_loss, "value_bins": 11, "initial_temperature": 0.2}
    config = replace(
        config,
        env=replace(config.env, tasks=config.env.task_names[:TASKS]),
        network=replace(config.network, **(small | (network or {}))),
        agent=replace(config.agent, **(agent | {"target_entropy": -float(ACTION)} | settings)),
        # features without a meaning
        normalization=replace(config.normalization, observation_frame="world"),
    )
    plan = resolve(config, torch.device("cpu"))
    return replace(plan, obs_size=OBS, action_size=ACTION, precision=dtype)


def make_agent(
    critic_loss: str = "hl_gauss",
    network: dict | None = None,
    dtype: torch.dtype = torch.float64,
    **settings: object,
) -> SAC:
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return SAC(make_plan(critic_loss, network, dtype, **settings), seeded())
    finally:
        torch.set_default_dtype(default)


def make_batch(dtype: torch.dtype = torch.float64, seed: int = 1) -> Batch:
    generator = seeded(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(TASKS, PER_TASK, *shape, generator=generator, dtype=dtype)

    return Batch(
        obs=randn(OBS),
        action=torch.tanh(randn(ACTION)),
        reward=randn(),
        next_obs=randn(OBS),
        discount=0.9 * (randn() > 0.5).to(dtype),
        task=None,
    )


def make_noise(dtype: torch.dtype = torch.float64, seed: int = 2) -> Tensor:
    return torch.randn(2, TASKS, PER_TASK, ACTION, generator=seeded(seed), dtype=dtype)


def shuffled(batch: Batch, noise: Tensor) -> tuple[Batch, Tensor]:
    """The same data in shuffled order, with the task of each sample."""
    order = torch.randperm(TASKS * PER_TASK, generator=seeded(3))
    flat = {name: getattr(batch, name).flatten(0, 1)[order] for name in Batch._fields[:-1]}
    return Batch(**flat, task=order // PER_TASK), noise.flatten(1, 2)[:, order]


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in module.named_parameters() if not value.equal(before[name])}
