"""How the networks see an observation, against numpy and by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.observations import MIN_SPREAD, ObservationScale, observation_frame
from agent.sac import SAC
from configs import load_config

TASKS, OBS = 3, 4


def chunks(counts, seed):
    """Observations `[T, N, obs]` far from zero, with a feature that never moves."""
    rng = np.random.default_rng(seed)
    offset = rng.uniform(-5, 5, (TASKS, 1, OBS))
    spread = np.array([0.0, 0.05, 1.0, 30.0])
    return [
        (offset + spread * rng.standard_normal((TASKS, n, OBS))).astype(np.float32) for n in counts
    ]


def fed(observations):
    statistics = ObservationScale(TASKS, OBS, None)
    for obs in observations:
        statistics.observe(obs)
    return statistics


@settings(deadline=None, max_examples=60)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=20), seed=st.integers(0, 999))
def test_statistics_are_those_of_everything_seen(counts, seed):
    observations = chunks(counts, seed)
    statistics = fed(observations)
    everything = np.concatenate(observations, axis=1).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, everything.mean(axis=1), rtol=1e-9)
    expected = np.maximum(everything.std(axis=1), MIN_SPREAD)
    np.testing.assert_allclose(statistics.spread(), expected, rtol=1e-6, atol=1e-9)
    assert (statistics.spread()[:, 0] == MIN_SPREAD).all()


def test_before_any_observation_nothing_is_scaled():
    statistics = ObservationScale(TASKS, OBS, None)
    assert (statistics.mean == 0).all()
    assert (statistics.spread() == 1).all()


def test_restored_statistics_go_on_alike():
    first, second = chunks([5, 7], seed=1)
    original = fed([first])
    restored = ObservationScale(TASKS, OBS, None)
    restored.load_state_dict({k: v.copy() for k, v in original.state_dict().items()})
    for statistics in (original, restored):
        statistics.observe(second)
    assert np.array_equal(original.mean, restored.mean)
    assert np.array_equal(original.spread(), restored.spread())


def test_load_refuses_another_number_of_tasks():
    with pytest.raises(ValueError, match="'mean' is float64"):
        ObservationScale(TASKS, OBS, None).load_state_dict(
            ObservationScale(2, OBS, None).state_dict()
        )


def make_agent(scaling):
    config = load_config("mt10")
    config = replace(
        config,
        compile="never",
        env=replace(config.env, tasks=config.env.tasks[:TASKS]),
        network=replace(
            config.network, actor_hidden=(16,), critic_hidden=(16,), dendritic_layers=(0,)
        ),
        agent=replace(config.agent, observation_scaling=scaling, observation_frame="world"),
    )
    return SAC(config, OBS, 2, torch.device("cpu"), torch.Generator().manual_seed(0))


def test_the_networks_see_each_task_in_its_own_units():
    observations = chunks([50], seed=3)
    statistics = fed(observations)
    agent = make_agent("per_task")
    agent.set_observation_scale(statistics)
    obs = torch.from_numpy(observations[0])  # [T, n, obs]
    scaled = agent.scaled(obs)
    for task in range(TASKS):
        by_hand = (obs[task].numpy() - statistics.mean[task]) / statistics.spread()[task]
        np.testing.assert_allclose(scaled[task], by_hand, rtol=1e-3, atol=1e-3)
    rows = torch.arange(TASKS).repeat_interleave(50)
    assert torch.equal(agent.scaled(obs.flatten(0, 1), rows), scaled.flatten(0, 1))
    assert agent.scaled(obs + 1e6).max() == 10
    mean, _ = agent.actor(scaled)
    np.testing.assert_allclose(agent.act(obs.numpy(), None), mean.tanh().detach(), rtol=1e-6)


def test_without_scaling_the_networks_see_what_the_simulator_says():
    observations = chunks([50], seed=3)
    agent = make_agent("none")
    agent.set_observation_scale(fed(observations))
    obs = torch.from_numpy(observations[0])
    assert torch.equal(agent.scaled(obs), obs)


def by_hand(obs):
    """The relative frame of one observation `[39]`, in plain indices (float64)."""
    seen = obs.copy()
    for axis in range(3):
        seen[4 + axis] = obs[4 + axis] - obs[axis]  # object from the hand
        seen[36 + axis] = obs[36 + axis] - obs[4 + axis]  # goal from the object
    for feature in range(18):
        seen[18 + feature] = obs[feature] - obs[18 + feature]  # change since the step before
    return seen


def test_the_relative_frame_is_differences_and_loses_nothing():
    frame = observation_frame("relative", 39)
    obs = np.random.default_rng(0).uniform(-1, 1, (20, 39))
    np.testing.assert_allclose(obs @ frame, np.stack([by_hand(one) for one in obs]), atol=1e-15)
    np.testing.assert_allclose(obs @ frame @ np.linalg.inv(frame), obs, atol=1e-12)
    assert observation_frame("world", 39) is None
    with pytest.raises(ValueError, match="39 features, not 4"):
        observation_frame("relative", 4)


@pytest.mark.parametrize("scaling", ["none", "per_task"])
def test_an_agent_with_the_relative_frame_sees_scaled_differences(scaling):
    config = load_config("mt10")
    config = replace(
        config, compile="never", agent=replace(config.agent, observation_scaling=scaling)
    )
    agent = SAC(config, 39, 4, torch.device("cpu"), torch.Generator().manual_seed(0))
    obs = np.random.default_rng(1).uniform(-1, 1, (10, 30, 39)).astype(np.float32)
    statistics = ObservationScale(10, 39, observation_frame("relative", 39))
    statistics.observe(obs)
    agent.set_observation_scale(statistics)
    seen = np.apply_along_axis(by_hand, -1, obs.astype(np.float64))
    if scaling == "per_task":
        seen = (seen - seen.mean(axis=1, keepdims=True)) / seen.std(axis=1, keepdims=True)
    np.testing.assert_allclose(agent.scaled(torch.from_numpy(obs)), seen, atol=2e-6)
