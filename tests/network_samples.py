"""For the tests of the networks: small ones of every kind, and data for them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from agent.networks import Actor, TwinCritic
from configs.network import NetworkConfig

TASKS, PER_TASK, OBS, ACTION, OUTPUTS, HIDDEN = 3, 4, 5, 2, 7, (12, 8)

KINDS = list(
    itertools.product(("dendritic", "mlp"), ("relu", "k_winners"), ("one_hot", "embedding"))
)
each_network = pytest.mark.parametrize(("kind", "activation", "context"), KINDS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def make_config(
    kind: str = "dendritic",
    activation: str = "k_winners",
    context: str = "one_hot",
    **settings: object,
) -> NetworkConfig:
    settings = {
        "num_segments": 3,
        "winners_density": (0.5, 0.25),
        "weight_density": 0.8,
        "actor_hidden": HIDDEN,
        "critic_hidden": HIDDEN,
    } | settings
    return NetworkConfig(
        kind=kind, activation=activation, context=context, embedding_size=4, **settings
    )


def make_actor(
    config: NetworkConfig, log_std_bounds: tuple[float, float] = (-10.0, 2.0), **settings: object
) -> Actor:
    return Actor(
        OBS,
        ACTION,
        config,
        num_tasks=TASKS,
        log_std_bounds=log_std_bounds,
        generator=seeded(),
        **settings,
    )


def make_critic(config: NetworkConfig, **settings: object) -> TwinCritic:
    return TwinCritic(OBS, ACTION, OUTPUTS, config, num_tasks=TASKS, generator=seeded(), **settings)


def assert_close(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
