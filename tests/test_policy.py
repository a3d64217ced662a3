"""The policy that acts: the learner's own tensors, always in float32."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sac_samples import OBS, TASKS, make_agent, make_batch, make_noise, make_plan, seeded

from agent.policy import Policy
from agent.sac import SAC
from dendrites import DendriticLayer

FLOAT32 = torch.float32
OBSERVATIONS = np.random.default_rng(0).normal(size=(TASKS, 50, OBS)).astype(np.float32)


def acting(agent):
    return agent.policy.act(OBSERVATIONS, None)


def by_learner(agent):
    """The same actions from the learner's network."""
    mean, _ = agent.actor(agent.observations(torch.from_numpy(OBSERVATIONS)))
    return torch.tanh(mean).detach().numpy()


def make_bfloat16(**settings):
    return SAC(make_plan(dtype=torch.bfloat16, **settings), seeded())


# --- actions -----------------------------------------------------------------------------------


def test_mean_actions_are_the_squashed_mean_and_sampled_ones_follow_the_noise():
    agent = make_agent(dtype=FLOAT32)
    obs = make_batch(FLOAT32).obs.numpy()
    mean, log_std = agent.actor(torch.from_numpy(obs))
    np.testing.assert_allclose(agent.policy.act(obs, None), mean.tanh().detach().numpy(), rtol=1e-6)
    noise = torch.randn(mean.shape, generator=seeded(6))
    sampled = agent.policy.act(obs, noise)
    expected = torch.tanh(mean + log_std.exp() * noise).detach().numpy()
    np.testing.assert_allclose(sampled, expected, rtol=1e-5, atol=1e-6)
    assert (np.abs(sampled) <= 1).all()
    assert sampled.dtype == np.float32
    assert np.array_equal(sampled, agent.policy.act(obs, noise))


@pytest.mark.parametrize("scaling", [False, True])
def test_the_policy_acts_on_scaled_observations(scaling):
    agent = make_agent(dtype=FLOAT32)
    if scaling:
        agent.observations.mean.copy_(torch.randn(TASKS, OBS, generator=seeded(1)))
        agent.observations.spread.copy_(0.1 + torch.rand(TASKS, OBS, generator=seeded(2)))
    mean, spread = agent.observations.mean.numpy(), agent.observations.spread.numpy()
    obs = (OBSERVATIONS - mean[:, None]) / spread[:, None]
    raw, _ = agent.actor(torch.from_numpy(obs.clip(-10, 10)))
    np.testing.assert_allclose(acting(agent), raw.tanh().detach(), rtol=1e-5, atol=1e-6)


def test_an_action_needs_no_gradient_and_leaves_none():
    agent = make_agent(dtype=FLOAT32)
    acting(agent)
    assert all(parameter.grad is None for parameter in agent.parameters())
    assert all(parameter.requires_grad for parameter in agent.actor.parameters())


# --- shared tensors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network", [{}, {"context": "embedding"}, {"weight_density": 0.5, "segment_density": 0.5}]
)
def test_every_tensor_of_the_policy_is_the_actors_own(network):
    agent = make_bfloat16(network=network)
    for kind in ("named_parameters", "named_buffers"):
        own = dict(getattr(agent.actor, kind)())
        twins = dict(getattr(agent.policy.actor, kind)())
        assert own.keys() == twins.keys()
        assert own or (kind == "named_buffers" and "context" in network)  # then a parameter
        for name, tensor in own.items():
            assert twins[name] is tensor, name


def test_acting_follows_updates_and_loads():
    agent, other = make_agent(dtype=FLOAT32), make_agent(dtype=FLOAT32)
    other.actor.head.bias.data += 0.3
    other.observations.mean += 0.1
    first = acting(agent)
    np.testing.assert_array_equal(by_learner(agent), first)
    agent.update(make_batch(FLOAT32), make_noise(FLOAT32))
    moved = acting(agent)
    np.testing.assert_array_equal(by_learner(agent), moved)
    assert not np.array_equal(first, moved)
    agent.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(acting(agent), acting(other))
    np.testing.assert_array_equal(by_learner(agent), acting(other))
    agent.update(make_batch(FLOAT32), make_noise(FLOAT32))  # the optimiser has them still
    np.testing.assert_array_equal(by_learner(agent), acting(agent))
    assert not np.array_equal(acting(agent), acting(other))


def test_a_copied_agent_acts_with_its_own_weights():
    agent = make_agent(dtype=FLOAT32)
    twin = copy.deepcopy(agent)
    before = acting(agent)
    twin.update(make_batch(FLOAT32), make_noise(FLOAT32))
    np.testing.assert_array_equal(acting(agent), before)
    np.testing.assert_array_equal(by_learner(twin), acting(twin))
    assert not np.array_equal(acting(twin), before)


def test_the_policy_is_no_part_of_what_is_saved_or_counted():
    agent = make_agent(dtype=FLOAT32)
    assert not any("policy" in name for name in agent.state_dict())
    assert len(list(agent.parameters())) == sum(
        len(list(part.parameters())) for part in (agent.actor, agent.critic, agent.target_critic)
    ) + len([agent.log_temperature])


# --- precision ---------------------------------------------------------------------------------


def test_the_policy_computes_in_float32_where_the_learner_computes_in_bfloat16():
    fast, exact = make_bfloat16(), make_agent(dtype=FLOAT32)  # of the same seed
    np.testing.assert_array_equal(acting(fast), acting(exact))
    assert not np.array_equal(by_learner(fast), acting(fast))
    for _ in range(2):
        fast.update(make_batch(FLOAT32), make_noise(FLOAT32))
    exact.load_state_dict(fast.state_dict())
    np.testing.assert_array_equal(acting(fast), acting(exact))


def test_making_a_policy_leaves_the_learners_precision_alone():
    agent = make_bfloat16()
    Policy(agent.observations, agent.actor)
    dtypes = {
        name: [layer.product_dtype for layer in network.modules() if type(layer) is DendriticLayer]
        for name, network in (("learner", agent.actor), ("policy", agent.policy.actor))
    }
    assert dtypes == {"learner": [None, torch.bfloat16], "policy": [None, None]}
