"""The silencing matrix of a network small enough to know what it has to be."""

from __future__ import annotations

import numpy as np
import torch
from network_samples import make_config, seeded
from numpy.typing import NDArray

from agent.networks import Actor
from agent.observations import ObservationNormalizer
from agent.policy import Policy
from analysis.activity import Floats
from analysis.silencing import Silencing, measure_silencing
from configs.schema import NormalizationConfig

TASKS, UNITS = 2, 4
GOALS = np.array([[0.5, 0.4], [0.5, 0.4]], np.float32)[..., None]  # [T, n, 1] the observations


def policy_by_hand() -> Policy:
    """Four units: 0 is on in the first task and 1 in the second, 2 in both; 3 never.

    The first action is what units 0 and 1 say, plus as much from unit 2.
    """
    settings = make_config(
        "mlp", "relu", actor_hidden=(UNITS,), weight_density=1.0, layer_norm=False
    )
    actor = Actor(1, 1, settings, num_tasks=TASKS, log_std_bounds=(-10.0, 2.0), generator=seeded())
    layer = actor.trunk.layers[0].linear
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.zero_()
        # inputs: the observation, then the task's one-hot
        layer.weight.copy_(torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0.5, 0.5], [0, -1, -1.0]]))
        actor.head.weight[0] = torch.tensor([1.0, 1.0, 1.0, 1.0])
    scale = NormalizationConfig(observation_frame="world", observation_scaling="none")
    return Policy(ObservationNormalizer(scale, TASKS, 1), actor)


def rates_of(policy: Policy, least: float) -> Floats:
    """A task succeeds where its action is at least so large."""
    action: NDArray[np.float32] = np.asarray(policy.act(GOALS, None))
    rates: Floats = (action[..., 0] >= np.tanh(least) - 1e-6).mean(axis=1)
    return rates


def test_the_matrix_by_hand() -> None:
    policy = policy_by_hand()
    np.testing.assert_allclose(policy.act(GOALS, None), np.tanh(1.5), atol=1e-6)
    on_rates = [np.array([[1, 0, 0.9, 0], [0, 1, 0.9, 0]])]
    found = measure_silencing(
        policy,
        lambda: rates_of(policy, least=1.5),
        on_rates,
        fraction=0.25,  # one unit of four
        random_draws=3,
        generator=np.random.default_rng(0),
    )
    np.testing.assert_array_equal(found.intact, [1, 1])
    np.testing.assert_array_equal(found.most_used, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(found.specificity, [1, 1])
    # a random unit: 0 or 1 ends one task, 2 both, 3 none
    assert {tuple(row) for row in found.random} <= {(0, 1), (1, 0), (0, 0), (1, 1)}
    np.testing.assert_allclose(policy.act(GOALS, None), np.tanh(1.5), atol=1e-6)


def test_silencing_all_units_fails_everything() -> None:
    policy = policy_by_hand()
    on_rates = [np.ones((TASKS, UNITS))]

    def measure(fraction: float) -> Floats:
        return measure_silencing(
            policy,
            lambda: rates_of(policy, least=0.1),
            on_rates,
            fraction,
            random_draws=1,
            generator=np.random.default_rng(0),
        ).most_used

    np.testing.assert_array_equal(measure(1.0), np.zeros((TASKS, TASKS)))


def test_specificity_by_hand() -> None:
    matrix = np.array([[0.2, 1.0, 0.6], [0.8, 0.5, 0.4], [0.4, 0.0, 0.7]])
    found = Silencing(0.25, np.ones(3), matrix, np.ones((1, 3)))
    np.testing.assert_allclose(found.specificity, [0.6 - 0.2, 0.5 - 0.5, 0.5 - 0.7])
