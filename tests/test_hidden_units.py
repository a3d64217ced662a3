"""Outputs of hidden layers, and silenced units, against the network's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_samples import HIDDEN, OBS, PER_TASK, TASKS, each_network, make_actor, make_config

from agent.observations import ObservationNormalizer
from agent.policy import Policy
from analysis.hidden_units import hidden_activations, silenced
from configs.schema import NormalizationConfig

ACTORS = pytest.mark.parametrize("kind", ["dendritic", "mlp"])
SEEN = np.random.default_rng(0).normal(size=(TASKS, PER_TASK, OBS)).astype(np.float32)


def make_policy(kind: str, activation: str = "k_winners") -> Policy:
    scale = NormalizationConfig(observation_frame="world", observation_scaling="none")
    actor = make_actor(make_config(kind, activation))
    return Policy(ObservationNormalizer(scale, TASKS, OBS), actor)


def none() -> list[np.ndarray]:
    return [np.zeros(units, bool) for units in HIDDEN]


@each_network
def test_the_last_layers_output_is_what_the_head_sees(
    kind: str, activation: str, context: str
) -> None:
    scale = NormalizationConfig(observation_frame="world", observation_scaling="none")
    actor = make_actor(make_config(kind, activation, context))
    policy = Policy(ObservationNormalizer(scale, TASKS, OBS), actor)
    first, last = hidden_activations(policy, SEEN)
    assert first.shape == (TASKS, PER_TASK, HIDDEN[0])
    mean, _ = policy.actor.head(torch.from_numpy(last)).chunk(2, dim=-1)
    np.testing.assert_allclose(policy.act(SEEN, None), torch.tanh(mean).detach(), atol=1e-6)


@ACTORS
def test_silencing_nothing_changes_nothing(kind: str) -> None:
    policy = make_policy(kind)
    before = policy.act(SEEN, None)
    with silenced(policy, none()):
        np.testing.assert_array_equal(policy.act(SEEN, None), before)


@ACTORS
def test_silencing_everything_leaves_the_heads_bias(kind: str) -> None:
    policy = make_policy(kind)
    with torch.no_grad():
        policy.actor.head.bias.copy_(torch.arange(4.0))
    before = policy.act(SEEN, None)
    with silenced(policy, [np.ones(units, bool) for units in HIDDEN]):
        expected = np.broadcast_to(np.tanh([0.0, 1.0]), before.shape)
        np.testing.assert_allclose(policy.act(SEEN, None), expected, atol=1e-6)
    np.testing.assert_array_equal(policy.act(SEEN, None), before)


@ACTORS
def test_silenced_units_say_nothing_and_their_places_stay_empty(kind: str) -> None:
    policy = make_policy(kind)
    which = none()
    which[1][[0, 3]] = True
    _, last = hidden_activations(policy, SEEN)
    last[..., [0, 3]] = 0
    mean, _ = policy.actor.head(torch.from_numpy(last)).chunk(2, dim=-1)
    with silenced(policy, which):
        np.testing.assert_allclose(policy.act(SEEN, None), torch.tanh(mean).detach(), atol=1e-6)


def test_a_failure_while_units_are_silenced_puts_them_back() -> None:
    policy = make_policy("dendritic")
    before = policy.act(SEEN, None)
    which = [np.ones(units, bool) for units in HIDDEN]
    with pytest.raises(RuntimeError), silenced(policy, which):
        raise RuntimeError
    np.testing.assert_array_equal(policy.act(SEEN, None), before)
