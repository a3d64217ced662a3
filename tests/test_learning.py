"""The agent learns a small multi-task problem, and only because it knows the task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agent.plan import resolve
from agent.replay import ReplayBuffer
from agent.sac import SAC
from configs import Config, load_config

TARGETS = torch.tensor([[-0.6], [0.0], [0.6]])  # the right action of each task
DEVICE = torch.device("cpu")


def learned_error(config: Config, shuffle_tasks: bool) -> float:
    """Mean distance of the policy's actions from their targets after 400 updates.

    One-step episodes whose observation says nothing; reward -(action - target of the task)^2.
    """
    generator = torch.Generator().manual_seed(0)
    plan = replace(resolve(config, DEVICE), obs_size=2, action_size=1, target_entropy=-1.0)
    agent = SAC(plan, generator)
    replay = ReplayBuffer(3, 20, 6000, 2, 1, DEVICE, discount=config.agent.discount)
    obs = torch.randn(3, 2000, 2, generator=generator)
    action = torch.rand(3, 2000, 1, generator=generator) * 2 - 1
    reward = -(action - TARGETS.unsqueeze(1)).square().squeeze(-1)
    if shuffle_tasks:
        order = torch.randperm(6000, generator=generator)
        obs, action = obs.flatten(0, 1)[order], action.flatten(0, 1)[order]
        reward = reward.flatten()[order].view(3, 2000)
        obs, action = obs.view(3, 2000, 2), action.view(3, 2000, 1)
    over = torch.ones(3, 20, dtype=torch.bool)
    for now in range(0, 2000, 20):  # in the place of 20 environments of each task, 100 steps
        step = slice(now, now + 20)
        values = obs[:, step], action[:, step], reward[:, step], obs[:, step]
        replay.add(*values, terminated=over, truncated=~over)
    for _ in range(400):
        batch = replay.sample(config.replay.sampling, config.replay.batch_size, generator)
        noise = torch.randn(2, *batch.action.shape, generator=generator)
        agent.update(batch, noise)
    actions = torch.from_numpy(
        agent.policy.act(torch.randn(3, 50, 2, generator=generator).numpy(), None)
    )
    return (actions - TARGETS.unsqueeze(1)).abs().mean().item()


def small(kind: str = "dendritic", sampling: str = "balanced", **network: object) -> Config:
    base = load_config("mt10")
    sizes = {"actor_hidden": (48, 48), "critic_hidden": (48, 48)}
    return replace(
        base,
        machine=replace(base.machine, compile="never", precision="float32"),
        env=replace(base.env, tasks=base.env.task_names[:3]),
        replay=replace(base.replay, batch_size=96, sampling=sampling),
        network=replace(base.network, kind=kind, **sizes, **network),
        agent=replace(
            base.agent,
            actor_lr=3e-3,
            critic_lr=3e-3,
            value_range=(-10.0, 10.0),  # rewards below 0
        ),
        normalization=replace(base.normalization, observation_frame="world"),  # two features
    )


def slow(config: Config, name: str) -> object:
    return pytest.param(config, id=name, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(small(), id="default"),
        slow(small(sampling="uniform"), "uniform"),
        slow(small(activation="relu", gating="gate_table"), "gate_table"),
        slow(small(context="embedding", embedding_size=8), "embedding"),
        slow(small(kind="mlp", activation="relu"), "mlp"),
    ],
)
def test_learns_what_each_task_wants(config: Config) -> None:
    assert learned_error(config, shuffle_tasks=False) < 0.1


@pytest.mark.slow
def test_cannot_learn_when_task_ids_are_shuffled() -> None:
    assert learned_error(small(), shuffle_tasks=True) > 0.3
